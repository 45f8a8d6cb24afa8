# Debian's nginx with the module, for a folder of recordings:
#
#     docker build -t xspace .
#     docker run -p 8080:8080 -v /srv/xspace/downloads:/srv/xspace/downloads:ro xspace
#
# From a checkout the crates are fetched; a release tarball has them.

FROM debian:trixie-slim AS build

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

FROM debian:trixie-slim

COPY --from=build /src/libnginx-mod-http-xspace_*.deb /tmp/
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx /tmp/libnginx-mod-http-xspace_*.deb \
    && rm -rf /tmp/*.deb /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
        /etc/nginx/sites-enabled/default /var/log/dpkg.log /var/log/apt \
    && install -d /srv/xspace/downloads

COPY packaging/container/nginx.conf /etc/nginx/nginx.conf
COPY packaging/container/site.conf /etc/nginx/conf.d/default.conf
COPY --chmod=755 packaging/container/healthcheck /usr/local/bin/healthcheck

USER www-data
EXPOSE 8080
VOLUME /srv/xspace/downloads
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/local/bin/healthcheck"]
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
