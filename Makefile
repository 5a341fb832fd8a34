# Builds argoexec. `make help` lists the targets and the variables.

BASE_VERSION := v0.1.0

ARCH ?= $(shell uname -m)
SAN ?=
FUZZ ?=
PREFIX ?= /usr
DESTDIR ?=
WERROR ?= -Werror

MAKEFLAGS += --no-builtin-rules --no-print-directory
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# --- Variants: one folder of objects each, so that none undoes another -----------------------------

override ARCH := $(patsubst aarch64,arm64,$(ARCH))
NATIVE := $(patsubst aarch64,arm64,$(shell uname -m))
triplet.x86_64 := x86_64-linux-gnu
triplet.arm64 := aarch64-linux-gnu
harden.x86_64 := -fcf-protection=full
harden.arm64 := -mbranch-protection=standard
TRIPLET := $(triplet.$(ARCH))
ifeq ($(TRIPLET),)
$(error ARCH=$(ARCH) is not known: x86_64 or arm64)
endif

comma := ,
ifeq ($(FUZZ),afl)
override CC := afl-clang-fast
override SAN := afl
OUT := build/afl
else ifneq ($(FUZZ),)
override CC := clang
override SAN := fuzzer-no-link,address,undefined
OUT := build/fuzz
else ifeq ($(SAN),coverage)
OUT := build/coverage
else ifeq ($(SAN),)
OUT := build$(if $(filter-out $(NATIVE),$(ARCH)),/$(ARCH))
else
OUT := build/san$(if $(filter-out address$(comma)undefined,$(SAN)),-$(subst $(comma),-,$(SAN)))
endif
OBJ := $(OUT)/obj
DEPS := build/deps/$(ARCH)
BINARY := $(OUT)/argoexec

# --- Tools and flags -------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := $(TRIPLET)-gcc
endif
STRIP := $(TRIPLET)-strip
has_ld_option = $(if $(shell $(TRIPLET)-ld --help 2>/dev/null | grep -e '$1'),-Wl$(comma)$2)

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wundef -Wpointer-arith -Wwrite-strings \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wimplicit-fallthrough \
	-Wno-missing-field-initializers
ifeq ($(findstring clang,$(CC)),)
WARNINGS += -Wlogical-op -Wduplicated-cond
else
# clang takes no argument of a function that forwards its format for a literal, and does not see that
# a variable which is only cleaned up has its use.
WARNINGS += -Wno-format-nonliteral -Wno-unused-variable
endif
CPPFLAGS += -I. -isystem $(DEPS)/include -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
CFLAGS_ALL = -std=gnu17 -g $(WARNINGS) $(WERROR) -ffunction-sections -fdata-sections \
	-fvisibility=hidden -ffile-prefix-map=$(CURDIR)=. $(CFLAGS_VARIANT) $(CFLAGS)
LDFLAGS_ALL = $(LDFLAGS_VARIANT) -L$(DEPS)/lib -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack \
	$(LDFLAGS)
THIRD_PARTY := -lwebsockets -lcurl -larchive -lnghttp2 -lcares -lssl -lcrypto -lexpat -lpcre2-8 -ljson-c -lyaml -largon2 -lzstd -lz -lisal \
	-lseccomp -lcap

ifeq ($(SAN),)
CFLAGS_VARIANT := -O2 -fPIE -fstack-protector-strong -fstack-clash-protection $(harden.$(ARCH)) \
	-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
LDFLAGS_VARIANT = -static-pie $(call has_ld_option,pack-relative-relocs,-z$(comma)pack-relative-relocs)
LDLIBS := $(THIRD_PARTY)
else ifeq ($(FUZZ),afl)
# AFL++ counts what our own code does, and is fast: no sanitizer. It has a driver for libFuzzer's targets.
CFLAGS_VARIANT := -O2
LDFLAGS_VARIANT := -fsanitize=fuzzer
LDLIBS := -Wl,-Bstatic $(THIRD_PARTY) -Wl,-Bdynamic
else ifneq ($(FUZZ),)
# What parses for us is instrumented too: build/deps/fuzz comes first.
CFLAGS_VARIANT := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS_VARIANT := -fsanitize=fuzzer,address,undefined -Lbuild/deps/fuzz/lib
LDLIBS := -Wl,-Bstatic $(THIRD_PARTY) -Wl,-Bdynamic
else ifeq ($(SAN),coverage)
# Which lines the corpus reaches, counted by gcc; no sanitizer.
CFLAGS_VARIANT := -O0 --coverage -Wno-format-truncation
LDFLAGS_VARIANT := --coverage
LDLIBS := -Wl,-Bstatic $(THIRD_PARTY) -Wl,-Bdynamic
else
# The sanitizers want a dynamic libc. Everything else is static here too: containers of the tests
# then need only libc, libm and the loader beside the binary.
CFLAGS_VARIANT := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
LDFLAGS_VARIANT := -fsanitize=$(SAN) -static-libgcc $(if $(findstring address,$(SAN)),-static-libasan) \
	$(if $(findstring undefined,$(SAN)),-static-libubsan)
LDLIBS := -Wl,-Bstatic $(THIRD_PARTY) -Wl,-Bdynamic
endif

# --- Sources ---------------------------------------------------------------------------------------

ROLES := init emissary wait gc
LIBRARY_SOURCES := $(sort $(wildcard executor/*/*.c executor/*/*/*.c signal/*.c $(addsuffix /*.c,$(ROLES))))
SOURCES := $(LIBRARY_SOURCES) argoexec.c
LIBRARY_OBJECTS := $(LIBRARY_SOURCES:%.c=$(OBJ)/%.o)
OBJECTS := $(SOURCES:%.c=$(OBJ)/%.o)
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c))
UNIT_SUPPORT := $(filter-out $(UNIT_SOURCES),$(sort $(wildcard tests/unit/*.c)))
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(OUT)/tests/%)
FUZZ_SOURCES := $(filter-out %/replay.c,$(sort $(wildcard tests/fuzz/*.c)))
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(filter tests/fuzz/fuzz_%.c,$(FUZZ_SOURCES)))
PROBE_SOURCES := $(sort $(wildcard tests/probes/*.c))
PROBES := $(PROBE_SOURCES:tests/probes/%.c=build/probes/%)

# --- Set-up: packages, then the rebuilt libraries --------------------------------------------------

SETUP := build/.setup-$(ARCH)
$(SETUP): scripts/setup-build.sh scripts/lib/apt.sh scripts/packages/build.txt scripts/packages/arm64.txt
	@scripts/setup-build.sh $(filter-out $(NATIVE),$(ARCH))
	@mkdir -p $(@D) && touch $@

# The script runs when its recipe changed; objects are rebuilt only if a library really did.
$(DEPS)/.checked: scripts/build-deps.sh $(SETUP)
	@scripts/build-deps.sh $(ARCH)
	@touch $@
$(DEPS)/stamp: $(DEPS)/.checked ;

build/.setup-demo: scripts/setup-tests.sh scripts/lib/apt.sh scripts/packages/demo.txt | build/.setup-$(NATIVE)
	@scripts/setup-tests.sh demo
	@touch $@
build/.setup-tests: scripts/setup-tests.sh scripts/lib/apt.sh scripts/packages/tests.txt scripts/packages/demo.txt | build/.setup-$(NATIVE)
	@scripts/setup-tests.sh
	@touch $@

build/deps/fuzz/stamp: $(DEPS)/stamp scripts/build-deps.sh build/.setup-tests
	@scripts/build-deps.sh fuzz
	@touch $@

# --- Compile and link ------------------------------------------------------------------------------

# Files that change only with their content: flags, and what git says about the tree.
.PHONY: FORCE
keep_if_same = mkdir -p $(@D) && { cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }
$(OBJ)/flags: FORCE
	@mkdir -p $(@D) && printf '%s\n' '$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(LDLIBS)' >$@.new
	@$(keep_if_same)
$(OBJ)/version.flags: FORCE
	@mkdir -p $(@D) && scripts/version.sh $(BASE_VERSION) '$(ARGOEXEC_VERSION)' >$@.new
	@$(keep_if_same)

$(OBJ)/executor/base/version.o: $(OBJ)/version.flags
$(OBJ)/executor/base/version.o: CPPFLAGS += @$(OBJ)/version.flags

$(OBJ)/%.o: %.c $(OBJ)/flags $(DEPS)/stamp
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# glibc warns of name service calls in static programs. Those left are OpenSSL's and c-ares's, on
# paths that are not taken: c-ares resolves, and ports are numbers.
define link
@echo "  LD    $1"
@mkdir -p $(@D)
@$(CC) $(CFLAGS_ALL) $2 -o $1 $(LDFLAGS_ALL) $3 >$1.log 2>&1 || { cat $1.log >&2; exit 1; }
@grep -v -e 'in statically linked applications requires' -e ': in function ' -e 'linker garbage collection' $1.log >&2 || rm -f $1.log
endef

.PHONY: all objects
all: $(BINARY) ## Build build/argoexec: static-PIE, hardened, stripped (debug symbols in build/obj/argoexec.debug)
objects: $(LIBRARY_OBJECTS) ## Compile everything but argoexec.c, link nothing

$(OBJ)/argoexec.debug: $(OBJECTS) $(OBJ)/flags
	$(call link,$@,$(OBJECTS),$(LDLIBS) -Wl$(comma)-Map=$(OBJ)/argoexec.map)

ifeq ($(SAN),)
$(BINARY): $(OBJ)/argoexec.debug
	@$(STRIP) --strip-all -o $@ $<
	@echo "  STRIP $@ ($$(stat -c %s $@) bytes)"
else
$(BINARY): $(OBJ)/argoexec.debug
	@ln -f $< $@
endif

.PHONY: sbom
sbom: $(BINARY).spdx.json ## Write what is linked in, with versions and licences: build/argoexec.spdx.json
$(BINARY).spdx.json: $(BINARY) scripts/check/sbom.py scripts/check/link_map.py
	@/usr/bin/python3 scripts/check/sbom.py $< $@

.PHONY: unit-tests probes
ifeq ($(SAN),)
unit-tests: ## Build the unit tests, with sanitizers: build/san/tests/*
	@$(MAKE) SAN=address,undefined unit-tests
else
unit-tests: $(UNIT_TESTS)
endif
# The model of reporting has a clock and a connection of its own: tests/unit/report_model_api.c.
$(OUT)/tests/test_report_model: private LDFLAGS_TEST := $(addprefix -Wl$(comma)--wrap=,clock_now_ms time \
	event_timer_init event_timer_done event_timer_set event_timer_clear kube_client_loop kube_start kube_call_free)
# Uploads of many parts are of no bytes: tests/unit/test_object_parts.c answers itself.
$(OUT)/tests/test_object_parts: private LDFLAGS_TEST := $(addprefix -Wl$(comma)--wrap=,http_start http_transfer_free \
	http_perform object_sums_of)
ifeq ($(SAN),)
# There is no static cmocka.
$(OUT)/tests/%: private LDFLAGS_VARIANT := -pie
endif
$(OUT)/tests/%: $(OBJ)/tests/unit/%.o $(UNIT_SUPPORT:%.c=$(OBJ)/%.o) $(LIBRARY_OBJECTS) $(OBJ)/flags
	$(call link,$@,$(filter %.o,$^),$(LDLIBS) $(LDFLAGS_TEST) -lcmocka)

# One program for all fuzz targets; which one it runs is its name. gcc's sanitizers replay the corpus.
.PHONY: fuzz-targets fuzz-afl fuzz-replay
ifneq ($(FUZZ),)
fuzz-targets: $(FUZZ_TARGETS:%=$(OUT)/fuzz_%)
$(OUT)/fuzz_%: $(OBJ)/fuzz
	@ln -f $< $@
$(OBJ)/fuzz: $(FUZZ_SOURCES:%.c=$(OBJ)/%.o) $(LIBRARY_OBJECTS) $(OBJ)/flags $(if $(filter afl,$(FUZZ)),,build/deps/fuzz/stamp)
	$(call link,$@,$(filter %.o,$^),$(LDLIBS))
else
fuzz-targets:
	@$(MAKE) FUZZ=1 fuzz-targets
fuzz-afl: build/.setup-tests
	@$(MAKE) FUZZ=afl fuzz-targets
endif
fuzz-replay: $(OUT)/fuzz/replay
$(OUT)/fuzz/replay: $(FUZZ_SOURCES:%.c=$(OBJ)/%.o) $(OBJ)/tests/fuzz/replay.o $(LIBRARY_OBJECTS) $(OBJ)/flags
	$(call link,$@,$(filter %.o,$^),$(LDLIBS))

# User programs of the tests: they run in containers that hold nothing else.
probes: $(PROBES) ## Build the static helper programs of the tests, build/probes/*
build/probes/%: tests/probes/%.c $(DEPS)/stamp
	@mkdir -p $(@D)
	@echo "  PROBE $@"
	@$(CC) -I. -D_GNU_SOURCE -std=gnu17 -O2 $(WARNINGS) $(WERROR) -static -s -MMD -MP -MF $@.d $< -o $@

# argoexec with an attacker's list of actions in its staging process: tests/planted/corruption.c.
.PHONY: planted
planted: build/planted/argoexec ## Build the program of the tests of confinement
build/planted/argoexec: $(OBJECTS) $(OBJ)/tests/planted/corruption.o $(OBJ)/flags
	$(call link,$@,$(filter %.o,$^),$(LDLIBS) -Wl$(comma)--wrap=stage_open_store$(comma)--wrap=save_artifact)

# --- For editors and clang-tidy --------------------------------------------------------------------

json_entry = {"directory":"$(CURDIR)","file":"$1","arguments":[$(subst $(space),$(comma),$(foreach \
	word,$(CC) $(CPPFLAGS) $(if $(filter %/version.c,$1),@$(OBJ)/version.flags) $(CFLAGS_ALL) -c $1,"$(word)"))]}
space := $(subst ,, )
TIDY_SOURCES := $(SOURCES) $(UNIT_SOURCES) $(UNIT_SUPPORT) $(PROBE_SOURCES) $(FUZZ_SOURCES) tests/fuzz/replay.c \
	tests/planted/corruption.c
# Written by make itself: a command line takes at most 128 KiB in one word.
compile_commands.json: Makefile FORCE ## Write the compilation database
	$(file >$@,[$(subst }$(space){,}$(comma){,$(foreach s,$(TIDY_SOURCES),$(call json_entry,$s)))])
	@:

# --- Checks ----------------------------------------------------------------------------------------

.PHONY: lint audit check record soak fuzz fuzz-all coverage bench demo image smoke-arm64 smoke-debian13
lint: build/.setup-tests compile_commands.json $(DEPS)/stamp $(OBJ)/version.flags ## Format, clang-tidy (changed files; LINT_ALL=1: all), layers, budgets, shellcheck, pyflakes
	@scripts/lint.sh
audit: build/.setup-tests compile_commands.json all sbom ## Analyzers of gcc and clang, verdict on the binary, licences (minutes); docs/testing.md
	@scripts/audit.sh
check: build/.setup-tests ## Run every test; the last line is 'N passed, N failed, N skipped'
	@scripts/check.sh
record: build/.setup-tests all probes ## Name system calls that a table lacks: all integration tests, or TESTS="FILE..."
	@ARGOEXEC=$${ARGOEXEC:-build/argoexec} /usr/bin/python3 -m tests.recording $(TESTS)
soak: build/.setup-tests all probes build/tests/test_report_model ## Run the long counts
	@scripts/soak.sh
fuzz: build/.setup-tests $(if $(AFL),fuzz-afl,fuzz-targets) ## Fuzz one target: T=control SECONDS=600; AFL=1: with AFL++; docs/testing.md
	@/usr/bin/python3 -m tests.fuzz $(if $(AFL),--afl) $(if $(SECONDS),--time $(SECONDS)) $(or $(T),$(error T= one of: $(FUZZ_TARGETS)))
fuzz-all: build/.setup-tests fuzz-targets ## Fuzz every target for ten minutes; goes on where it was stopped
	@/usr/bin/python3 -m tests.fuzz --all
coverage: build/.setup-tests ## Which lines of each parser the kept inputs of its fuzz target reach: T=control (one), MISSING=1 (show the others)
	@$(MAKE) SAN=coverage fuzz-replay
	@/usr/bin/python3 -m tests.fuzz.coverage $(if $(MISSING),--missing) $(T)
bench: build/.setup-tests all probes ## Measure the bars: ROWS=out-1g,in-* (some), QUICK=1 (small), REFERENCE=/path (paired)
	@scripts/bench.sh
demo: build/.setup-demo all probes ## Run a two-step workflow's pods and show what they did (POD=file.json: yours)
	@scripts/demo.sh $(POD)
image: build/.setup-tests all ## Build the container images and check them
	@scripts/image.sh
smoke-arm64: build/.setup-tests ## Cross-build for arm64 and run it under qemu-user
	@$(MAKE) ARCH=arm64 all
	@scripts/smoke-arm64.sh
smoke-debian13: build/.setup-tests ## Build and run in a Debian 13 root
	@scripts/smoke-debian13.sh

# --- Install, clean, help --------------------------------------------------------------------------

.PHONY: install clean distclean help
install: all ## Install $(DESTDIR)$(PREFIX)/bin/argoexec
	install -D -m 755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/argoexec
clean: ## Remove what was built, except the libraries
	rm -rf build/argoexec build/argoexec.spdx.json build/obj build/san* build/afl build/coverage build/arm64 build/probes build/planted build/check build/fuzz/obj build/fuzz/fuzz_* compile_commands.json
distclean: ## Remove everything that was built
	rm -rf build compile_commands.json
help: ## Show this text
	@sed -n 's/^\([a-z0-9_.-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS=$$'\t' read -r target text; do printf '  %-22s %s\n' "$$target" "$$text"; done
	@echo
	@echo "  SAN=address,undefined  build with sanitizers, into build/san"
	@echo "  ARCH=arm64             cross-build, into build/arm64"
	@echo "  ARGOEXEC_VERSION=TEXT  the version to report; else it comes from git"
	@echo "  PREFIX=/usr DESTDIR=   where to install"
	@echo "  WERROR=                keep warnings warnings"

-include $(OBJECTS:.o=.d) $(UNIT_SOURCES:%.c=$(OBJ)/%.d) $(UNIT_SUPPORT:%.c=$(OBJ)/%.d) $(FUZZ_SOURCES:%.c=$(OBJ)/%.d) \
	$(OBJ)/tests/fuzz/replay.d $(OBJ)/tests/planted/corruption.d $(PROBES:%=%.d)
