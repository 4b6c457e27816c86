# Makefile - short names for what CMake, CTest and the scripts in tools/ do. The build itself is described in CMakeLists.txt and cmake/.
#
#   make demo      install what is missing, build, translate the sentences of demo/sentences.en
#   make test      install what is missing, build everything, run every test (ends in CTest's summary)
#   make help      all targets
SHELL := /bin/bash
BUILD ?= build
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
CMAKE_FLAGS ?=
CTEST_FLAGS ?= --output-on-failure
CONFIGURE = cmake -S . -G Ninja $(CMAKE_FLAGS)
# Asserts on, and fast enough to run the whole suite.
SANITIZED = -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g1" -DENDEC_BENCH=OFF
CTEST = ctest $(CTEST_FLAGS) -j $(JOBS) --test-dir

.DEFAULT_GOAL := all
.PHONY: all setup demo test check check-minimal check-clang asan tsan fuzz bench install clean format-check help

all: ## build the library, the tool build/endec, tests and benchmarks
	@$(CONFIGURE) -B $(BUILD) -DCMAKE_BUILD_TYPE=Release >/dev/null
	ninja -C $(BUILD) -j $(JOBS)

setup: ## install the Debian packages that are missing
	@tools/setup.sh

demo: setup ## build, then translate demo/sentences.en and what is piped or typed in
	@$(CONFIGURE) -B $(BUILD) -DCMAKE_BUILD_TYPE=Release >/dev/null
	ninja -C $(BUILD) -j $(JOBS) tool
	@tools/demo.sh $(BUILD)/endec

test: setup all ## build everything and run every test
	$(CTEST) $(BUILD)

check: ## only the checks of the source tree (headers, exports, layers, banned functions, ...)
	@$(CONFIGURE) -B $(BUILD) -DCMAKE_BUILD_TYPE=Release >/dev/null
	ninja -C $(BUILD) -j $(JOBS) endec
	$(CTEST) $(BUILD) -L check

check-minimal: ## build and test without the optional libraries (oneDNN, OpenMP) in build-minimal
	@$(CONFIGURE) -B build-minimal -DENDEC_WITH_DNNL=OFF -DENDEC_WITH_OPENMP=OFF >/dev/null
	ninja -C build-minimal -j $(JOBS)
	$(CTEST) build-minimal

check-clang: ## build and test with clang in build-clang
	@$(CONFIGURE) -B build-clang -DCMAKE_C_COMPILER=clang >/dev/null
	ninja -C build-clang -j $(JOBS)
	$(CTEST) build-clang

asan: setup ## every test under AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan
	@$(CONFIGURE) -B build-asan $(SANITIZED) -DENDEC_SANITIZE=address,undefined >/dev/null
	ninja -C build-asan -j $(JOBS)
	$(CTEST) build-asan -LE check

tsan: ## every test under ThreadSanitizer (clang and its OpenMP run time), in build-tsan
	@tools/setup.sh --tsan
	@$(CONFIGURE) -B build-tsan -DCMAKE_C_COMPILER=clang $(SANITIZED) -DENDEC_SANITIZE=thread >/dev/null
	ninja -C build-tsan -j $(JOBS)
	TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" $(CTEST) build-tsan -LE check

fuzz: ## libFuzzer on every target for FUZZ_SECONDS each (default 60), in build-fuzz
	@tools/setup.sh --fuzz
	@$(CONFIGURE) -B build-fuzz -DCMAKE_C_COMPILER=clang -DENDEC_FUZZ=ON $(SANITIZED) \
	    -DENDEC_SANITIZE=fuzzer-no-link,address,undefined >/dev/null
	ninja -C build-fuzz -j $(JOBS) fuzz
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

bench: all ## run every benchmark
	@tools/bench.sh $(BUILD)

install: all ## install into PREFIX (default /usr/local); DESTDIR is honoured
	cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove all build folders
	rm -rf build build-asan build-tsan build-fuzz build-clang build-minimal

format-check: ## say which files clang-format would change
	@git ls-files '*.[ch]' | xargs clang-format --dry-run 2>&1 | grep -o '^[^:]*' | sort | uniq -c

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
