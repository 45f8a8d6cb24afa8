# Debian's nginx with the module, for a folder of recordings:
#
#     docker build -t xspace .
#     docker run -p 8080:8080 -v /srv/xspace/downloads:/srv/xspace/downloads:ro xspace
#
# From a checkout the crates are fetched; a release tarball has them. To build from exactly the same
# base again, name it by its digest:
#
#     docker build --build-arg BASE=docker.io/library/debian:trixie-slim@sha256:... -t xspace .
#
# Who publishes an image names its source: the repository or site, and the commit.
#
#     docker build --build-arg SOURCE=https://... --build-arg REVISION=$(git rev-parse HEAD) -t xspace .

ARG BASE=docker.io/library/debian:trixie-slim

FROM $BASE AS build

# Debian 13 has a Rust that is new enough, and here its own package is built.
WORKDIR /src/xspace
COPY packaging/debian/control debian/control
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && apt-get build-dep -y --no-install-recommends .

COPY . .
RUN { [ -f vendor/config.toml ] || tools/vendor vendor; } \
    && tools/deb debian . \
    && dpkg-buildpackage --build=any --unsigned-changes

FROM $BASE

ARG BASE
ARG SOURCE=
ARG REVISION=
LABEL org.opencontainers.image.title="xspace" \
      org.opencontainers.image.description="NGINX that serves recorded audio and video spaces" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.base.name="$BASE" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="(0BSD OR Apache-2.0 OR MIT) AND (Apache-2.0 OR MIT OR Zlib) AND (Apache-2.0 OR MIT) AND Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSD-3-Clause AND MIT AND Unicode-3.0 AND Zlib"

COPY --from=build /src/libnginx-mod-http-xspace_*.deb /tmp/
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx /tmp/libnginx-mod-http-xspace_*.deb \
    && rm -rf /tmp/*.deb /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
        /etc/nginx/sites-enabled/default /var/log/dpkg.log /var/log/apt \
    && install -d /srv/xspace/downloads

COPY packaging/container/nginx.conf /etc/nginx/nginx.conf
COPY packaging/container/site.conf /etc/nginx/conf.d/default.conf
COPY --chmod=755 packaging/container/healthcheck /usr/local/bin/healthcheck

# Debian's slim images install no documentation of packages but their copyright files.
COPY README.md LICENSE THIRD-PARTY-NOTICES /usr/share/doc/xspace/

# www-data, as a number: Kubernetes' runAsNonRoot does not know names.
USER 33:33
EXPOSE 8080
VOLUME /srv/xspace/downloads
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/local/bin/healthcheck"]
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
