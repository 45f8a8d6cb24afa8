# `make help` lists what there is to make. Everything made goes to build/.

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
FOR_TESTS   := CARGO_TARGET_DIR=$(CURDIR)/build/target/tests

BUILD_MODULE := cargo build --release --locked

# INSTALL=no: install no packages, fail if one is missing.
INSTALL ?= yes
export INSTALL

# `make run` listens on 127.0.0.1, here.
PORT     ?= 8080
TLS_PORT ?= 8443

# TESTS=word: only the tests with that in their name.
TESTS ?=

# Copies $(1) to $(2) if it differs. By a rename, for a running nginx may have the old file mapped.
define install
mkdir -p $(dir $(2)) && { cmp -s $(1) $(2) || { cp $(1) $(2).new && mv $(2).new $(2); }; }
endef

# Runs the test suite: $(1) is the nginx, $(2) the module, $(3) more environment, $(4) a name.
define suite
@echo "== Test suite, $(4): $$($(1) -v 2>&1)"
$(FOR_TESTS) XSPACE_TEST_NGINX=$(1) XSPACE_TEST_MODULE=$(2) $(3) \
    cargo test --locked --manifest-path tests/Cargo.toml $(TESTS)
endef

.PHONY: build
build: build/nginx module ## Build build/nginx and build/ngx_http_xspace_module.so (release)

.PHONY: run
run: build demo-packages ## Serve sample recordings on loopback, PORT=8080 TLS_PORT=8443
	@demo/run $(PORT) $(TLS_PORT)

.PHONY: test
test: check unittest suite-bundled suite-debian ## Run everything that must pass

.PHONY: check
check: format lint doc licences ## Check format, lints, documentation and licences

.PHONY: unittest
unittest: rust ## Run the unit tests of the model
	@echo "== Unit tests of the model"
	$(FOR_BUNDLED) cargo test --locked --package nginx-xspace-model

.PHONY: suite-bundled
suite-bundled: build fault-module test-packages ## Run the test suite on the bundled NGINX, TESTS=name for a few
	$(call suite,$(CURDIR)/build/nginx,$(CURDIR)/build/$(MODULE),XSPACE_TEST_FAULT_MODULE=$(CURDIR)/build/fault/$(MODULE),bundled NGINX)

.PHONY: suite-debian
suite-debian: debian-module test-packages ## Run the test suite on Debian's own nginx, TESTS=name for a few
	$(call suite,/usr/sbin/nginx,$(DEBIAN)/$(MODULE),,Debian's nginx)

.PHONY: debian-module
debian-module: rust build-packages debian-packages ## Build build/debian/ngx_http_xspace_module.so for Debian's own nginx
	@tools/debian-nginx $(DEBIAN)
	$(FOR_DEBIAN) $(BUILD_MODULE)
	@$(call install,build/target/debian/release/libnginx_xspace.so,build/debian/$(MODULE))

.PHONY: format
format: rust lint-packages
	cargo fmt --all --check
	cargo fmt --check --manifest-path tests/Cargo.toml
	cargo fmt --check --manifest-path tools/bundled-nginx/Cargo.toml

# With --release, for then the bindings of `make build` serve here too.
.PHONY: lint
lint: build/nginx lint-packages
	$(FOR_BUNDLED) cargo clippy --release --locked --workspace --all-targets -- -D warnings
	$(FOR_BUNDLED) cargo clippy --release --locked --workspace --all-targets --all-features -- -D warnings
	$(FOR_TESTS) cargo clippy --locked --all-targets --manifest-path tests/Cargo.toml -- -D warnings

.PHONY: doc
doc: build/nginx
	$(FOR_BUNDLED) RUSTDOCFLAGS="-D warnings" \
	    cargo doc --release --locked --workspace --no-deps --document-private-items

.PHONY: licences
licences: rust
	@tools/check-licences . tests
	@if PATH="$$PATH:$(CURDIR)/build/tools/bin" command -v cargo-deny >/dev/null; then \
	    $(MAKE) --no-print-directory deny; \
	else \
	    echo "cargo-deny left out, for it is not installed (\"make deny\" installs and runs it)"; \
	fi

.PHONY: deny
deny: rust ## Check dependencies with cargo-deny, built into build/tools if it is missing
	@tools/deny . tests

# Where the bundled NGINX comes from and how it is built; nothing else makes it out of date.
build/nginx: $(addprefix tools/bundled-nginx/,Cargo.toml Cargo.lock build) | rust build-packages
	@echo "Building NGINX, log in build/bundled.log"
	@mkdir -p build
	@tools/bundled-nginx/build $(BUNDLED) >build/bundled.log 2>&1 || \
	    { tail -n 30 build/bundled.log; exit 1; }
	@$(call install,$(BUNDLED)/objs/nginx,$@)
	@touch $@

.PHONY: module
module: build/nginx | rust build-packages
	$(FOR_BUNDLED) $(BUILD_MODULE)
	@$(call install,build/target/bundled/release/libnginx_xspace.so,build/$(MODULE))

# With panics at the points that XSPACE_FAULT names; for one test, never to be installed anywhere.
.PHONY: fault-module
fault-module: build/nginx | rust build-packages
	$(FOR_FAULT) $(BUILD_MODULE) --features fault-injection
	@$(call install,build/target/fault/release/libnginx_xspace.so,build/fault/$(MODULE))

.PHONY: rust
rust:
	@tools/check-rust tools/bundled-nginx/Cargo.toml

.PHONY: build-packages debian-packages test-packages demo-packages
build-packages debian-packages test-packages demo-packages:
	@tools/install-packages $(@:-packages=)

# rustup's clippy and rustfmt come with `rustup component add`, Debian's are packages.
.PHONY: lint-packages
lint-packages: rust
	@if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then :; \
	elif command -v rustup >/dev/null; then rustup component add clippy rustfmt; \
	else tools/install-packages lint; fi

.PHONY: clean
clean: ## Remove everything that was made, sample recordings too
	rm -rf build

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
