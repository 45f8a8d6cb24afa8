# `make help` lists what there is to make. Everything made goes to build/.

# Neither NGINX's configure nor make can do with white space in a path.
ifneq ($(words $(CURDIR)),1)
$(error The path of this folder, "$(CURDIR)", contains white space; rename or move it)
endif

# Files made by root could not be overwritten by the next make. What has to be done as root is done
# with sudo by the scripts.
ifneq ($(filter-out root,$(SUDO_USER)),)
ifneq ($(filter-out clean help,$(or $(MAKECMDGOALS),build)),)
ifneq ($(shell stat -c %u .),0)
$(error Run make as $(SUDO_USER), without sudo: it calls sudo itself where it is needed)
endif
endif
endif

# Rust may be installed for this user without being on PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

BUNDLED  := $(CURDIR)/build/bundled
DEBIAN   := $(CURDIR)/build/debian
MODULE   := ngx_http_xspace_module.so

# What to say about NGINX's source and build tree, and where cargo puts what it builds for it.
# Each NGINX has a folder of its own: to build for one does not undo what was built for the other.
FOR_BUNDLED := NGINX_SOURCE_DIR=$(BUNDLED)/source NGINX_BUILD_DIR=$(BUNDLED)/objs \
               CARGO_TARGET_DIR=$(CURDIR)/build/target/bundled
FOR_DEBIAN  := NGINX_SOURCE_DIR=$(DEBIAN)/source NGINX_BUILD_DIR=$(DEBIAN)/objs \
               CARGO_TARGET_DIR=$(CURDIR)/build/target/debian
FOR_FAULT   := $(FOR_BUNDLED:%/target/bundled=%/target/fault)
FOR_PLAIN   := $(subst $(BUNDLED),$(CURDIR)/build/plain,$(FOR_BUNDLED:%/target/bundled=%/target/plain))
FOR_POOREST := $(subst $(BUNDLED),$(CURDIR)/build/poorest,$(FOR_BUNDLED:%/target/bundled=%/target/poorest))
FOR_TESTS   := CARGO_TARGET_DIR=$(CURDIR)/build/target/tests
FOR_BENCH   := CARGO_TARGET_DIR=$(CURDIR)/build/target/bench
FOR_FUZZ    := CARGO_TARGET_DIR=$(CURDIR)/build/target/fuzz
FOR_MIRI    := CARGO_TARGET_DIR=$(CURDIR)/build/target/miri

# A release tarball brings the crates that the module is built from.
BUILD_MODULE := cargo build --release --locked \
                $(if $(wildcard vendor/config.toml),--config vendor/config.toml)

# NGINX_SOURCE=DIR: the NGINX in that folder, a checkout or an unpacked tarball, takes the place of
# the bundled one.
NGINX_SOURCE ?=
export NGINX_SOURCE

# INSTALL=no: install no packages, fail if one is missing.
INSTALL ?= yes
export INSTALL

# `make run` listens on 127.0.0.1, here.
PORT     ?= 8080
TLS_PORT ?= 8443

BROWSER_MODULES := build/npm/demo/installed build/npm/tests/browser/installed
WRITERS_V1 := build/npm/tests/writers/v1/installed

# TESTS=word: only the tests with that in their name.
TESTS ?=

# `make bench`: QUICK=1 for instructions and system calls alone, ONLY=part or
# ONLY=part/measurement for some of it.
QUICK ?=
ONLY  ?=

# Copies $(1) to $(2) if it differs. By a rename, for a running nginx may have the old file mapped.
define install
mkdir -p $(dir $(2)) && { cmp -s $(1) $(2) || { cp $(1) $(2).new && mv $(2).new $(2); }; }
endef

# Configures an NGINX in build/$(1), the target is its objs/Makefile. $(2) is for configure, $(3) for
# its environment.
define configure
@echo "Configuring NGINX, log in build/$(1)-configure.log"
@mkdir -p build
@$(3) tools/bundled-nginx/configure build/$(1) $(2) >build/$(1)-configure.log 2>&1 || \
    { tail -n 30 build/$(1)-configure.log; rm -f $@; exit 1; }
endef

# Makes $(2) of the NGINX in build/$(1), on every CPU unless this make has job slots to share.
define make_nginx
@echo "Building NGINX, log in build/$(1).log"
@$(MAKE) $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc)) -C build/$(1)/source \
    -f ../objs/Makefile $(2) >build/$(1).log 2>&1 || { tail -n 30 build/$(1).log; exit 1; }
endef

# Starts another target directory, $(1), with what `module` has compiled. Most of it does not depend
# on NGINX, bindgen above all, and cargo compiles the rest again.
define start_from_module
@[ -d $(1)/release ] || { mkdir -p $(1) && cp -Rp build/target/bundled/release $(1)/new && mv $(1)/new $(1)/release; }
endef

# Copies the module built in build/target/$(1) to $(2), with the licenses of what it contains.
define install-module
@$(call install,build/target/$(1)/release/libnginx_xspace.so,$(2)/$(MODULE))
@$(call install,LICENSE,$(2)/LICENSE)
@$(call install,THIRD-PARTY-NOTICES,$(2)/THIRD-PARTY-NOTICES)
endef

# Runs the test suite: $(1) is the nginx, $(2) the module, $(3) more environment, $(4) a name,
# $(5) the tests to run if not all.
define suite
@echo "== Test suite, $(4): $$($(1) -v 2>&1)"
$(FOR_TESTS) XSPACE_TEST_NGINX=$(1) XSPACE_TEST_MODULE=$(2) $(3) \
    cargo test --locked --manifest-path tests/Cargo.toml --test suite -- $(or $(TESTS),$(5))
endef

.PHONY: build
build: build/nginx module ## Build build/nginx and build/ngx_http_xspace_module.so (release)
	@tools/fits build/$(MODULE) build/nginx
	@nginx=$$(PATH=$$PATH:/usr/sbin command -v nginx) || exit 0; \
	    tools/fits build/$(MODULE) "$$nginx" || \
	    echo '(for Debian'"'"'s own nginx: "make deb", "make debian-module"; for others see docs/install.md)'

.PHONY: run
run: build demo-packages application-packages build/npm/demo/installed ## Serve sample recordings on loopback, PORT=8080 TLS_PORT=8443
	@demo/run $(PORT) $(TLS_PORT)

.PHONY: test
test: check unittest suite-bundled suite-static suite-dynamic suite-poorest suite-debian suite-signers suite-frameworks suite-counts suite-browser bench-quick ## Run everything that must pass

# The module's debug profile checks for overflow, and what debug_assert! does. It is built with the
# points of fault injection, which do nothing until XSPACE_FAULT names one.
.PHONY: test-one
test-one: build/nginx module-debug nginx-plain test-packages ## Run the tests with T=name in their names, on a debug build of the module
	@[ -n "$(T)" ] || { echo 'usage: make test-one T=name'; exit 2; }
	@tests=$$($(FOR_TESTS) cargo test --locked --manifest-path tests/Cargo.toml --test suite -- --list $(T)) && \
	    case $$tests in *': test'*) ;; *) echo 'No test has "$(T)" in its name'; exit 1 ;; esac
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/debug/$(MODULE),$(addprefix XSPACE_TEST_,FAULT_MODULE=$(CURDIR)/build/debug/$(MODULE) PLAIN_NGINX=$(CURDIR)/build/plain/objs/nginx),debug profile,$(T))

.PHONY: check
check: format lint doc licences ## Check format, lints, documentation and licences

.PHONY: unittest
unittest: test-model ## Run the unit tests of the model and of what is done with NGINX's pointers
	@echo "== Unit tests of pools, timers and threads"
	$(FOR_MIRI) cargo test --locked --manifest-path tests/miri/Cargo.toml

.PHONY: test-model
test-model: rust ## Run the unit tests of the model
	@echo "== Unit tests of the model"
	$(FOR_BUNDLED) cargo test --locked --package nginx-xspace-model

# Where there is no nightly Rust with Miri, the same tests run without it.
.PHONY: test-miri
test-miri: rust ## Run the unit tests of pools, timers and threads under Miri
	@if cargo +nightly miri --version >/dev/null 2>&1; then \
	    $(FOR_MIRI) cargo +nightly miri test --locked --manifest-path tests/miri/Cargo.toml; \
	else \
	    echo "No nightly Rust with Miri (rustup toolchain install nightly -c miri -c rust-src): tests run without it"; \
	    $(FOR_MIRI) cargo test --locked --manifest-path tests/miri/Cargo.toml; \
	fi

.PHONY: suite-bundled
suite-bundled: build fault-module nginx-plain test-packages ## Run the test suite on the bundled NGINX, TESTS=name for a few
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/$(MODULE),$(addprefix XSPACE_TEST_,FAULT_MODULE=$(CURDIR)/build/fault/$(MODULE) PLAIN_NGINX=$(CURDIR)/build/plain/objs/nginx),bundled NGINX)

# Themes that load the machine and see nothing of how the module came into nginx.
LOADS := faults:: fuzz_server:: hostile:: soak::

.PHONY: suite-static
suite-static: nginx-static test-packages ## Run the test suite on an NGINX with the module compiled in
	$(call suite,$(CURDIR)/build/static/objs/nginx,,,the module compiled into NGINX,$(LOADS:%=--skip %))

# The same module as in suite-bundled but for who built it, so the tests that see its place in the
# chain of filters are enough here.
.PHONY: suite-dynamic
suite-dynamic: build/nginx module-dynamic test-packages
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/dynamic/objs/$(MODULE),,the module built by NGINX,caches:: conditional:: headers:: ranges::)

.PHONY: suite-debian
suite-debian: debian-module test-packages ## Run the test suite on Debian's own nginx, TESTS=name for a few
	$(call suite,/usr/sbin/nginx,$(DEBIAN)/$(MODULE),,Debian's nginx)

# These need languages that no other test does. They are ignored elsewhere, and fail here where one
# is missing.
.PHONY: suite-signers
suite-signers: build test-packages node-packages signers-packages ## Run the signers of docs/links.md in PHP, JavaScript and Go
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/$(MODULE),,signers of links,--ignored link_signers::)

# These need frameworks, and are ignored elsewhere as well.
.PHONY: suite-frameworks
suite-frameworks: build test-packages node-packages frameworks-packages build/npm/tests/frameworks/installed ## Run the routes of docs/coming-from-others.md in Django, Rails, PHP, Laravel and Express
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/$(MODULE),,routes of other frameworks,--ignored frameworks::)

# Writers of LMDB in other languages: ignored elsewhere as well.
.PHONY: suite-writers
suite-writers: build test-packages node-packages writers-packages build/npm/tests/writers/installed $(WRITERS_V1) ## Write catalogs in LMDB from Node.js and Go, as docs/catalog.md does
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/$(MODULE),,writers of LMDB,--ignored lmdb_writers::)

# Databases, a reader of syslog and Prometheus, all of them the real servers.
.PHONY: suite-counts
suite-counts: build test-packages counts-packages ## Bring plays into databases, make catalogs of them, scrape metrics, with the real servers
	@echo "== Counts outside of nginx"
	$(FOR_TESTS) XSPACE_TEST_NGINX=$(CURDIR)/build/nginx XSPACE_TEST_MODULE=$(CURDIR)/build/$(MODULE) \
	    cargo test --locked --manifest-path tests/Cargo.toml --test counts -- $(TESTS)

# The same with MySQL in the place of MariaDB, and without the other databases. Debian unstable has it.
.PHONY: suite-mysql
suite-mysql: build test-packages counts-packages tree-packages mysql-packages ## Bring plays into MySQL, make catalogs of it
	@tools/mysql $(CURDIR)/build/mysql
	@echo "== Counts and catalogs in MySQL: $$(build/mysql/mysqld --no-defaults --version)"
	$(FOR_TESTS) XSPACE_TEST_NGINX=$(CURDIR)/build/nginx XSPACE_TEST_MODULE=$(CURDIR)/build/$(MODULE) \
	    XSPACE_TEST_MYSQL=$(CURDIR)/build/mysql \
	    cargo test --locked --manifest-path tests/Cargo.toml --test counts -- --nocapture --include-ignored \
	        --skip sqlite --skip postgresql $(or $(TESTS),$(addsuffix ::,catalog_follow catalog_from_sql migration mysql plays_to_sql))

# The players, download programs and Chromium whose requests suite-counts replays.
.PHONY: clients-test
clients-test: build test-packages clients-packages browser-packages $(BROWSER_MODULES) ## Count what real players and download programs fetch (docs/counting.md)
	@set -e; for test in counts browser; do \
	    $(FOR_TESTS) XSPACE_TEST_NGINX=$(CURDIR)/build/nginx XSPACE_TEST_MODULE=$(CURDIR)/build/$(MODULE) \
	        cargo test --locked --manifest-path tests/Cargo.toml --test $$test -- \
	            --nocapture --ignored clients::; \
	done

# NGINX without all that can be left out, and the module for it. What needs more is passed over. A
# module that was built for an NGINX with nothing but --with-compat loads into one with threads too,
# and reads catalogs in them.
POOREST := $(addsuffix ::,bare_module catalog catalog_entries conditional formats headers layout linking log_lines \
               methods names ranges serving)
.PHONY: suite-poorest
suite-poorest: build/nginx build/poorest/objs/nginx module-poorest module-plain test-packages ## Run tests on an NGINX without all that it can be built without
	$(call suite,$(CURDIR)/build/poorest/objs/nginx,$(CURDIR)/build/poorest/$(MODULE),XSPACE_TEST_BARE_MODULE=yes,NGINX with nothing that it can do without,$(POOREST))
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/plain/$(MODULE),,the module built without threads,catalog_refresh::)

# NGINX_TESTS=DIR: a checkout of NGINX's own tests. TESTS=name.t for one of them.
NGINX_TESTS ?=
.PHONY: nginx-tests
nginx-tests: build nginx-tests-packages ## Compare NGINX's own tests with and without the module, NGINX_TESTS=checkout
	@tools/nginx-tests "$(NGINX_TESTS)" $(CURDIR)/build/nginx $(CURDIR)/build/$(MODULE) $(TESTS)

# BUILDS=name: only these of tools/build-matrix.
BUILDS ?=
.PHONY: build-matrix
build-matrix: module matrix-packages ## Build NGINX and the module in many ways and try each, BUILDS=name
	@CARGO_SEED=$(CURDIR)/build/target/bundled/release tools/build-matrix $(BUNDLED)/source $(BUILDS)

# Times are printed, so the output of the tests is not kept back.
.PHONY: suite-browser
suite-browser: build test-packages browser-packages $(BROWSER_MODULES) ## Run the browser test on the bundled NGINX, TESTS=name for a few
	@echo "== Browser test: $$(chromium --version 2>/dev/null)"
	$(FOR_TESTS) cargo test --locked --manifest-path tests/Cargo.toml --test browser -- \
	    --nocapture --test-threads=1 $(TESTS)

.PHONY: bench-browser
bench-browser: build test-packages browser-packages $(BROWSER_MODULES) ## Seek through the module and the old kind of application (tests/browser/README.md)
	$(FOR_TESTS) cargo test --locked --manifest-path tests/Cargo.toml --test browser -- \
	    --nocapture --ignored compare_with_the_application

.PHONY: screenshot
screenshot: build demo-packages application-packages browser-packages $(BROWSER_MODULES) ## Take the README's pictures of the page of "make run"
	@demo/screenshot $(PORT) $(TLS_PORT)

# CHECKER=valgrind or asan: only that one. TESTS=name for a few tests.
CHECKER ?= asan valgrind

.PHONY: test-memory
test-memory: rust build-packages test-packages memory-packages ## Run the test suite under AddressSanitizer and valgrind
	@set -e; for checker in $(CHECKER); do \
	    $(FOR_TESTS) tools/test-memory $$checker $(TESTS); \
	done

# The long forms of tests that the suite has short ones of.
REQUESTS ?= 1000000
define long
@echo "== $(1)"
$(FOR_TESTS) XSPACE_TEST_NGINX=$(CURDIR)/build/nginx XSPACE_TEST_MODULE=$(CURDIR)/build/$(MODULE) \
    $(2) cargo test --locked --manifest-path tests/Cargo.toml --test suite -- --nocapture $(3)
endef

.PHONY: fuzz-server
fuzz-server: build test-packages ## Throw REQUESTS=1000000 malformed requests at a running NGINX, SEED=n
	$(call long,Fuzzing a server,XSPACE_TEST_FUZZ_REQUESTS=$(REQUESTS) XSPACE_TEST_FUZZ_SEED=$(SEED),fuzz_server::)

.PHONY: soak
soak: build test-packages ## Send REQUESTS=1000000 requests of all kinds, with reloads and new catalogs
	$(call long,Soak test,XSPACE_TEST_SOAK_REQUESTS=$(REQUESTS),soak::)

.PHONY: test-faults
test-faults: build test-packages ## Let each fault under load go on for SECONDS (tests/README.md)
	$(call long,Faults under load,XSPACE_TEST_FAULT_SECONDS=$(SECONDS),faults::)

ROUNDS ?= 1000
.PHONY: test-lmdb
test-lmdb: build test-packages ## Kill writers and workers, and damage an LMDB environment, ROUNDS=1000 times each
	$(call long,LMDB under faults,XSPACE_TEST_LMDB_ROUNDS=$(ROUNDS) XSPACE_TEST_LMDB_SEED=$(SEED),lmdb_faults::)

ROTATIONS ?= 50
.PHONY: test-rotation
test-rotation: build test-packages ## Replace the key of links ROTATIONS=50 times while clients seek
	$(call long,Keys replaced under load,XSPACE_TEST_ROTATIONS=$(ROTATIONS),links_rotation::)

# Garage, an object store whose nodes replicate, is built once and kept: this takes 20 to 30 minutes
# of processor time.
GARAGE_VERSION := 2.5.0
GARAGE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/xspace-garage/$(GARAGE_VERSION)
$(GARAGE)/bin/garage: | rust build-packages
	@echo "Building Garage $(GARAGE_VERSION), log in $(GARAGE)/log"
	@mkdir -p $(GARAGE)
	@CARGO_TARGET_DIR=$(GARAGE)/target CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
	    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	    nice -n 19 cargo install garage --version $(GARAGE_VERSION) --locked --root $(GARAGE) \
	        --no-default-features --features bundled-libs,sqlite >$(GARAGE)/log 2>&1 || \
	    { tail -n 30 $(GARAGE)/log; exit 1; }
	@rm -rf $(GARAGE)/target

.PHONY: edge-test
edge-test: build test-packages $(GARAGE)/bin/garage ## Stop an edge and a node of a Garage cluster while clients seek at three edges
	$(call long,Edges of an object store,XSPACE_TEST_GARAGE=$(GARAGE)/bin/garage,--test-threads=1 s3_edges::)

.PHONY: bench
ifneq ($(filter-out 0 no,$(QUICK)),)
bench: $(if $(ONLY),bench-part,bench-quick)
else
bench: bench-part ## Measure, QUICK=1 for a short run, ONLY=part (bench/README.md)
endif

.PHONY: bench-part
bench-part: build debian-module quick-packages bench-packages application-packages
	$(FOR_BENCH) cargo run --release --locked --manifest-path bench/Cargo.toml -- \
	    $(if $(filter-out 0 no,$(QUICK)),--quick) $(ONLY)

# Fails if a request takes more instructions or system calls than it should: those do not depend
# on how busy the machine is, nor on how fast the client is, so what was built for the tests does.
.PHONY: bench-quick
bench-quick: build quick-packages
	@echo "== Instructions and system calls"
	$(FOR_TESTS) cargo run --locked --manifest-path bench/Cargo.toml -- --quick
	@echo "== A hundred listeners"
	$(FOR_TESTS) cargo test --locked --manifest-path bench/Cargo.toml
	$(FOR_TESTS) cargo run --locked --manifest-path bench/Cargo.toml -- --quick listeners/changes

.PHONY: plots
plots: rust ## Draw the plots of bench/results again from its JSON files
	$(FOR_TESTS) cargo run --locked --manifest-path bench/Cargo.toml -- plots

# FUZZ=target: only that one. SECONDS=n: for so long each; RUNS=n: so many runs instead.
FUZZ    ?=
SECONDS ?= 20
RUNS    ?=

.PHONY: fuzz
fuzz: rust fuzz-packages ## Fuzz the model, SECONDS=20 or RUNS=n for each target, FUZZ=target for one
	@$(FOR_FUZZ) SECONDS=$(SECONDS) RUNS=$(RUNS) fuzz/run $(FUZZ)

.PHONY: debian-module
debian-module: rust build-packages debian-packages ## Build build/debian/ngx_http_xspace_module.so for Debian's own nginx
	@tools/debian-nginx $(DEBIAN)
	$(FOR_DEBIAN) $(BUILD_MODULE)
	$(call install-module,debian,build/debian)

.PHONY: format
format: rust lint-packages
	cargo fmt --all --check
	cargo fmt --check --manifest-path tests/Cargo.toml
	cargo fmt --all --check --manifest-path tests/miri/Cargo.toml
	cargo fmt --check --manifest-path bench/Cargo.toml
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path tools/bundled-nginx/Cargo.toml

# With the debug profile, as in the other steps of the daily loop. What of the bindings the module
# may not use is in the configuration that tools/clippy-conf writes.
CLIPPY_MODULE := $(FOR_BUNDLED) CLIPPY_CONF_DIR=$(CURDIR)/build/clippy \
                 cargo clippy --locked --workspace --all-targets

# Cargo features that a build can leave out. Linted with all of them, with none, with each alone and
# with all but one.
ROOMS := links lmdb plays s3
define lint_rooms
	$(CLIPPY_MODULE) --no-default-features --features "export-modules $(1)" -- -D warnings

endef
.PHONY: lint
lint: build/bundled/objs/Makefile lint-packages
	$(FOR_BUNDLED) cargo check --locked --package nginx-sys
	@tools/clippy-conf build/target/bundled build/clippy
	$(CLIPPY_MODULE) -- -D warnings
	$(CLIPPY_MODULE) --all-features -- -D warnings
	$(call lint_rooms)
	$(foreach room,$(ROOMS),$(call lint_rooms,$(room)))
	$(foreach room,$(if $(word 3,$(ROOMS)),$(ROOMS)),$(call lint_rooms,$(filter-out $(room),$(ROOMS))))
	$(FOR_TESTS) cargo clippy --locked --all-targets --manifest-path tests/Cargo.toml -- -D warnings
	$(FOR_MIRI) cargo clippy --locked --all-targets --manifest-path tests/miri/Cargo.toml -- -D warnings
	$(FOR_TESTS) cargo clippy --locked --manifest-path bench/Cargo.toml -- -D warnings
	$(FOR_FUZZ) cargo clippy --locked --all-targets --no-default-features \
	    --manifest-path fuzz/Cargo.toml -- -D warnings

.PHONY: doc
doc: build/bundled/objs/Makefile
	$(FOR_BUNDLED) RUSTDOCFLAGS="-D warnings" \
	    cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: licences
licences: rust
	@tools/check-licences . tests fuzz
	@tools/notices check

# After a change of Cargo.lock.
.PHONY: notices
notices: rust ## Make THIRD-PARTY-NOTICES anew, with cargo-about
	@tools/notices write

# Where the bundled NGINX comes from and how it is built; nothing else makes it out of date.
BUNDLED_FILES := $(addprefix tools/bundled-nginx/,Cargo.toml Cargo.lock configure) build/nginx-source

# Remembers which source was taken, and is changed only if that is another one now.
.PHONY: FORCE
build/nginx-source: FORCE | rust build-packages
	@mkdir -p build
	@printf '%s\n' '$(NGINX_SOURCE)' | cmp -s - $@ || printf '%s\n' '$(NGINX_SOURCE)' >$@

build/bundled/objs/Makefile: $(BUNDLED_FILES) | rust build-packages
	$(call configure,bundled)

build/nginx: build/bundled/objs/Makefile
	$(call make_nginx,bundled,build)
	@$(call install,$(BUNDLED)/objs/nginx,$@)
	@touch $@

.PHONY: module
module: build/bundled/objs/Makefile
	$(FOR_BUNDLED) $(BUILD_MODULE)
	$(call install-module,bundled,build)

.PHONY: module-debug
module-debug: build/bundled/objs/Makefile
	$(FOR_BUNDLED) $(BUILD_MODULE:--release=--features fault-injection)
	@$(call install,build/target/bundled/debug/libnginx_xspace.so,build/debug/$(MODULE))

# With panics at the points that XSPACE_FAULT names; for one test, never to be installed anywhere.
.PHONY: fault-module
fault-module: module
	$(call start_from_module,build/target/fault)
	$(FOR_FAULT) $(BUILD_MODULE) --features fault-injection
	@$(call install,build/target/fault/release/libnginx_xspace.so,build/fault/$(MODULE))

# An NGINX in which the module finds no threads, and one without all that can be left out; the module for
# the latter has no links, no LMDB, no counts of plays and no object stores.
.PHONY: nginx-plain
nginx-plain: build/plain/objs/nginx
build/plain/objs/Makefile build/poorest/objs/Makefile: build/%/objs/Makefile: $(BUNDLED_FILES) | rust build-packages
	$(call configure,$*,,NGINX_FEATURES=$(if $(filter plain,$*),plain,none))

build/plain/objs/nginx build/poorest/objs/nginx: build/%/objs/nginx: build/%/objs/Makefile
	$(call make_nginx,$*,build)

.PHONY: module-plain
module-plain: build/plain/objs/Makefile module
	$(call start_from_module,build/target/plain)
	$(FOR_PLAIN) $(BUILD_MODULE)
	@$(call install,build/target/plain/release/libnginx_xspace.so,build/plain/$(MODULE))

.PHONY: module-poorest
module-poorest: build/poorest/objs/Makefile module
	$(call start_from_module,build/target/poorest)
	$(FOR_POOREST) $(BUILD_MODULE) --no-default-features --features export-modules
	@$(call install,build/target/poorest/release/libnginx_xspace.so,build/poorest/$(MODULE))

# The module in NGINX's own build (`config`, `config.make`): compiled in, and loadable.
build/static/objs/Makefile: $(BUNDLED_FILES) config config.make | rust build-packages
	$(call configure,static,--with-debug --with-poll_module --add-module="$(CURDIR)")

build/dynamic/objs/Makefile: $(BUNDLED_FILES) config config.make | rust build-packages
	$(call configure,dynamic,--add-dynamic-module="$(CURDIR)")

.PHONY: nginx-static
nginx-static: build/static/objs/Makefile module
	$(call start_from_module,build/static/objs/ngx_http_xspace_module)
	$(call make_nginx,static,build)

.PHONY: module-dynamic
module-dynamic: build/dynamic/objs/Makefile module
	$(call start_from_module,build/dynamic/objs/ngx_http_xspace_module)
	$(call make_nginx,dynamic,modules)
	@tools/fits build/dynamic/objs/$(MODULE) build/nginx

.PHONY: dist
dist: rust ## Make the release tarball build/dist/nginx-xspace-VERSION.tar.xz
	@tools/dist build/dist

.PHONY: release
release: rust ## Make the tarball twice, compare, and write SBOM and SHA256SUMS, in build/release
	@tools/release build/release

.PHONY: deb
deb: rust deb-packages ## Build the Debian package for this machine's nginx, in build/deb
	@rm -rf build/deb
	@tools/deb source build/deb
	@tools/deb build build/deb
	@ls build/deb/*.deb

# SUITES=trixie: only there.
SUITES ?= bookworm trixie testing
.PHONY: package-test
package-test: rust tree-packages ## Build, install and remove the package in Debian 12, 13 and testing systems
	@tools/package-test $(SUITES)

.PHONY: reproducible
reproducible: rust tree-packages ## As package-test; the package is built twice, in two places, and compared
	@TWICE=yes tools/package-test $(SUITES)

# CHECKS=check: only "make check", with the Rust of each Debian.
.PHONY: fresh-test
fresh-test: rust tree-packages ## Follow README.md as a new user, in fresh Debian 12, 13 and testing systems
	@PORT=$(PORT) TLS_PORT=$(TLS_PORT) $(if $(CHECKS),CHECKS="$(CHECKS)") tools/fresh-test $(SUITES)

# Themes that see NGINX's structs, files of any size, LMDB's pages, and what workers read.
ARCH ?= arm64 i386
ARCH_TESTS := $(addsuffix ::,catalog conditional formats headers lmdb lookup ranges serving)
.PHONY: arch-test
arch-test: arch-systems test-packages ## Build the module for ARCH=arm64 and i386 and test it there, TESTS=name for a few
	@set -e; for arch in $(ARCH); do \
	    $(FOR_TESTS) tools/arch-test test $$arch $(or $(TESTS),$(ARCH_TESTS)); \
	done

.PHONY: arch-systems
arch-systems: rust tree-packages
	@set -e; for arch in $(ARCH); do tools/arch-test systems $$arch; done

.PHONY: rpm
rpm: build/nginx rpm-packages ## Build the RPM for the builds of nginx.org and try it, in build/rpm
	@tools/rpm build/rpm

.PHONY: makepkg
makepkg: rust tree-packages ## Build the package for Arch Linux with makepkg in a Debian 13 system
	@tools/makepkg

.PHONY: image-test
image-test: rust tree-packages image-packages ## Build the container image and request a recording, CONTEXT=checkout
	@CONTEXT=$(CONTEXT) tools/image-test

# npm packages as the lock files say; nothing of them is run while they are installed.
build/npm/%/installed: %/package.json %/package-lock.json | node-packages
	@mkdir -p $(@D)
	@cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# The package lmdb in the file format of LMDB 0.9, and node-lmdb, whose binary is for newer systems.
# node-gyp would download headers that come with Node.js.
$(WRITERS_V1): build/npm/tests/writers/installed | node-packages writers-packages
	@rm -rf $(@D) && mkdir -p $(@D) && cp -R $(<D)/package.json $(<D)/package-lock.json $(<D)/node_modules $(@D)
	cd $(@D) && prefix=$$(dirname "$$(dirname "$$(readlink -f "$$(command -v node)")")") && \
	    { [ ! -e "$$prefix/include/node/node_api.h" ] || export npm_config_nodedir="$$prefix"; } && \
	    npm rebuild lmdb node-lmdb --build-from-source --use_data_v1=true --loglevel=error
	@touch $@

.PHONY: rust
rust:
	@tools/check-rust tools/bundled-nginx/Cargo.toml

PACKAGES := $(addsuffix -packages,application bench browser build clients counts deb debian demo frameworks fuzz image \
                lint matrix memory mysql nginx-tests node quick rpm signers test tree writers)
.PHONY: $(PACKAGES) packages
ifdef LIST_PACKAGES
$(PACKAGES):
	tools/install-packages $(@:-packages=)
else
$(PACKAGES): packages
endif

# All packages are installed before anything is built, at once: the groups that a dry run of the
# same goals comes to.
GROUPS = $$($(MAKE) --dry-run --keep-going LIST_PACKAGES=yes $(MAKECMDGOALS) 2>/dev/null | \
             sed -n 's/^tools.install-packages //p')
packages: rust
	@tools/install-packages $(GROUPS)

.PHONY: clean
clean: ## Remove everything that was made, sample recordings too
	@[ ! -e build/trees ] || tools/tree remove-all
	rm -rf build

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
