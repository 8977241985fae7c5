# framebridge: everything from a fresh clone. Each target sets up what it needs and may be repeated.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export FRAMEBRIDGE_STRICT := 1

.PHONY: build demo check test test-all format lint types test-quick test-whole test-storms test-overload test-benchmarks test-dist \
        fuzz test-sanitized test-sanitized-storms test-conformance test-vm bench bench-compare bench-baseline bench-accounting \
        bench-lab docs man deb test-deb debug clean system-packages

# Debian packages the lab and the tests use; skipped where they are installed or there is no apt.
SYSTEM_COMMANDS := ip:iproute2 ping:iputils-ping iperf3:iperf3 tcpdump:tcpdump ethtool:ethtool gcc:gcc pgrep:procps
system-packages:
	@missing=""; for pair in $(SYSTEM_COMMANDS); do \
	    command -v $${pair%%:*} >/dev/null 2>&1 || [ -x /usr/sbin/$${pair%%:*} ] || missing="$$missing $${pair##*:}"; done; \
	$(PYTHON) -c 'import ensurepip, sysconfig, pathlib; \
	    assert (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists()' 2>/dev/null \
	    || missing="$$missing python3-venv python3-dev"; \
	if [ -n "$$missing" ]; then \
	    echo "installing:$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

# The virtual environment, with the package built in place and all extras.
SOURCES := $(wildcard csrc/*/*.c csrc/*/*.h bridge/core/*.pyx bridge/core/*.pxd)
PIP := $(BIN)/pip install -qq --disable-pip-version-check
$(VENV)/.built: pyproject.toml setup.py $(SOURCES) | system-packages
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(PIP) 'setuptools>=77' 'cython>=3.1,<4'
	$(PIP) --no-build-isolation -e '.[test,bench,metrics,top]'
	@touch $@

build: $(VENV)/.built

demo: build
	$(BIN)/framebridge lab

# Three lanes. Each runs all its parts, also when one failed, and ends with a table of them and the sum (tests/run). Each
# part is a target of its own; pytest takes more: `make test-whole ARGS="-k vlan --durations=20"`.
LANE := format lint types
check: build  # while working: a minute or three
	@tests/run $(LANE) test-quick

test: build  # before a landing, and in CI: a quarter of an hour
	@tests/run $(LANE) test-whole test-storms test-sanitized fuzz test-benchmarks test-dist

test-all: build  # other switches, second wires, storms for minutes, another kernel: an hour and more
	@tests/run $(LANE) test-whole test-storms test-sanitized fuzz test-benchmarks test-dist \
	    test-conformance test-overload test-sanitized-storms test-vm

format: build
	$(BIN)/ruff format --check .

lint: build
	$(BIN)/ruff check .
	$(BIN)/python csrc/includes.py
	$(BIN)/lint-imports --no-logo --no-cache

types: build
	$(BIN)/mypy

# A test process per CPU, each in a network namespace of its own (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n auto --dist worksteal
test-quick: build
	HYPOTHESIS_PROFILE=short $(PYTEST) $(PARALLEL) -m "smoke or not (slow or storm or wide)" $(ARGS)

test-whole: build
	$(PYTEST) $(PARALLEL) -m "not (storm or wide)" $(ARGS)

test-storms: build
	$(PYTEST) -m "storm and not wide" $(ARGS)

# The same storms for longer: a minute of overload each way, hundreds of changes under traffic.
test-overload: build
	FRAMEBRIDGE_OVERLOAD_SECONDS=60 FRAMEBRIDGE_CHURN_ROUNDS=600 $(PYTEST) -m storm -rP $(ARGS)

# Every benchmark once: is what it measures what it says; no timing.
test-benchmarks: build
	$(PYTEST) bench/micro --benchmark-disable $(PARALLEL) $(ARGS)

# What people install: sdist, wheel, and the command from the wheel in a fresh environment.
test-dist: build
	tests/run-dist build/dist $(PYTHON)

docs: build
	$(BIN)/python docs/counters.py
	PYTHONPATH=tests $(BIN)/python -m conformance.page
	PYTHONPATH=tests $(BIN)/python -m conformance.catalogue
	$(BIN)/python docs/metrics.py

# Manual pages (build/man) and completion for bash, zsh and fish (build/completion), made of what the program says itself.
man: build
	PYTHONPATH=. $(BIN)/python packaging/manual.py build/man
	PYTHONPATH=. $(BIN)/python packaging/completion.py build/completion

# The Debian package of the system this is run on, in build/deb with what lintian says of it; and that package installed,
# used, upgraded, removed and purged in a bare Debian, as root.
deb:
	@packaging/build-deb build/deb

test-deb: deb
	@packaging/test-deb build/chroot build/deb/framebridge_*.deb || { [ $$? = 77 ] && echo "test-deb: skipped, see above"; }

# Micro benchmarks over replay ports, no root: cycles per frame by stage, beside the saved baseline.
MICRO := $(BIN)/python -m pytest bench/micro --benchmark-only --benchmark-disable-gc --benchmark-columns=median -q
bench: build
	$(MICRO)

# The same without noise: instructions per frame under valgrind; fails if a scenario got worse by more than 2 %.
bench-compare: bench
	$(BIN)/python -m bench.micro.instructions

bench-baseline: build
	$(MICRO) --save-cycles
	$(BIN)/python -m bench.micro.instructions --save

# What the accounting costs: two builds, with and without it, in turns.
bench-accounting: build
	$(BIN)/python -m bench.micro.accounting

# The lab: framebridge and its rivals in namespaces, as root. MODE=quick (ten minutes), full, smoke; see
# docs/benchmarking.md.
bench-lab: build
	$(BIN)/python -m bench lab --mode $(or $(MODE),quick)

# The same C code under AddressSanitizer and UndefinedBehaviorSanitizer, in a tree of its own.
DEBUG := build/debug
debug: build
	@mkdir -p $(DEBUG)
	@rm -rf $(DEBUG)/bridge $(DEBUG)/csrc && cp -r bridge csrc setup.py pyproject.toml README.md $(DEBUG)/
	@rm -f $(DEBUG)/bridge/core/*.so $(DEBUG)/bridge/core/*.c
	cd $(DEBUG) && FRAMEBRIDGE_SANITIZE=1 $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace

test-sanitized: debug
	tests/run-sanitized $(DEBUG) $(BIN)/python $(PARALLEL) -m "not (storm or wide)" $(ARGS)

test-sanitized-storms: debug
	tests/run-sanitized $(DEBUG) $(BIN)/python -m "storm" $(ARGS)

# Inputs that nobody thought of: the core, its parsers and what ports receive under libFuzzer and sanitizers, and what
# files and the control socket say under atheris; a minute for all of them, `make fuzz SECONDS=3600` for longer. Without
# clang, or without a wheel of atheris, those targets are skipped, with a line that says so.
SECONDS := 60
FUZZ := build/fuzz
FUZZ_FLAGS := -std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
    -fno-strict-aliasing -D_GNU_SOURCE -Icsrc -Itests/fuzz -Wall -Wextra -Werror -Wno-unused-parameter \
    -Wno-missing-field-initializers
FUZZ_TARGETS := $(addprefix $(FUZZ)/,core parsers received)
FUZZ_OBJECTS := $(patsubst csrc/%.c,$(FUZZ)/%.o,$(filter-out %.bpf.c,$(wildcard csrc/*/*.c)))
$(FUZZ_OBJECTS): $(FUZZ)/%.o: csrc/%.c $(wildcard csrc/*/*.h)
	@mkdir -p $(@D)
	@clang -fsanitize=fuzzer-no-link $(FUZZ_FLAGS) -c $< -o $@

$(FUZZ)/libcore.a: $(FUZZ_OBJECTS)
	@rm -f $@
	@ar -rcs $@ $^

$(FUZZ_TARGETS): $(FUZZ)/%: tests/fuzz/%.c $(wildcard tests/fuzz/*.h) csrc/port/link.c csrc/port/tap.c $(FUZZ)/libcore.a
	clang -fsanitize=fuzzer $(FUZZ_FLAGS) $< $(FUZZ)/libcore.a -pthread -o $@

fuzz: build
	@$(PIP) --no-build-isolation -e '.[fuzz]' || echo "no atheris from the index"
	@rm -f $(FUZZ_TARGETS); \
	if echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null; then \
	    $(MAKE) --no-print-directory -j$$(nproc) $(FUZZ_TARGETS); \
	fi
	FRAMEBRIDGE_FUZZ_SECONDS=$(SECONDS) $(PYTEST) -rPs tests/fuzz/fuzz_targets.py $(ARGS)

# The same scenarios through framebridge on both its wires and through Open vSwitch; see docs/differences.md.
test-conformance: build
	@command -v ovs-vswitchd >/dev/null || [ -x /usr/sbin/ovs-vswitchd ] || { apt-get update -qq && RUNLEVEL=1 \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openvswitch-switch >/dev/null; }
	$(PYTEST) $(PARALLEL) tests/conformance $(ARGS)

# A second kernel, Debian's, in an emulated machine over this file system: 8021q, netem, the Linux bridge, Open vSwitch's
# kernel datapath. And here: a real guest of QEMU, the scenarios through Open vSwitch. Ends well, with the reason, where
# the packages cannot be had. ARGS: what to run inside instead, for example ARGS="tests/vm -k netem".
VM := build/vm
VM_TESTS := tests/vm tests/conformance/test_scenarios.py::test_linux_bridge \
            tests/integration/test_links.py::test_a_missing_vlan_interface_is_made
$(VM)/.virtme: $(VENV)/.built
	@mkdir -p $(VM)
	$(PIP) --no-build-isolation -e '.[vm]'
	@touch $@

test-vm: $(VM)/.virtme
	@tests/vm/prepare $(VM) || { [ $$? = 77 ] && echo "test-vm: skipped, see above" && exit 0; exit 1; }; \
	$(BIN)/python -m pytest tests/vm/test_qemu_guest.py tests/conformance/test_scenarios.py::test_open_vswitch && \
	$(BIN)/python tests/vm/boot.py --timeout 900 $(or $(ARGS),$(VM_TESTS))

clean:
	rm -rf build $(VENV) *.egg-info bridge/core/*.so bridge/core/*.c .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
