# Everything is set up on first use: system packages, a virtual environment in .venv, the compiled modules.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# What a target is given besides: make test ARGS="tests/native -k gcra", make bench-race ARGS=--write
ARGS ?=
# Of tests at a time: most of their time is waiting. PROCESSES=0 runs them in pytest's own process.
PROCESSES ?= 3
C = $(shell find native loadtests -name '*.[ch]')
SOURCES := setup.py pyproject.toml $(wildcard native/modelward_native/*/*.[chp]* protos/*.proto)
# Load tests that are a module of loadtests; loadtests/README.md tells what each proves.
STUBTEST := --mypy-config-file pyproject.toml --allowlist scripts/stubtest-allowlist.txt \
            --ignore-missing-stub --ignore-disjoint-bases --ignore-unused-allowlist
MODULES := stages race fairness limits audit hedge slow through mirror verdicts restarts reload promote soak idle memory start nodes oms sealed scan evasion drift poisoning install wheel image autoscale
BENCHES := $(MODULES:%=bench-%) bench-theft bench-hop bench-latency bench-audit-kills bench-attack bench-siege bench-overload bench-adbench bench-fuzz bench-sanitize

.PHONY: help demo test build wheel image-root lint docs bench clean $(BENCHES)

help:
	@echo 'make demo     build, and see a bundled model guarded'
	@echo 'make test     the suite'
	@echo 'make build    the compiled modules and the virtual environment'
	@echo 'make wheel    a wheel that needs no compiler where it is installed'
	@echo 'make image-root  what deploy/Dockerfile makes, without a container engine, in build/image/root'
	@echo 'make lint     formats, lints, types'
	@echo 'make docs     the generated pages, the figures, the site'
	@echo 'make bench    what a request costs, stage by stage and beside other servers'
	@echo 'make clean    removes what was built'
	@echo 'Load tests: $(BENCHES)'

demo: $(VENV)/.built
	@$(VENV)/bin/modelward demo $(ARGS)

test: $(VENV)/.tested
	@scripts/peers
	$(PY) -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

build: $(VENV)/.built

# For other Pythons: make wheel ARGS="python3.12 python3.13"; built twice and compared: ARGS=--twice
wheel: $(VENV)/.created
	@scripts/wheel $(ARGS)

# On Debian 13; the wheel is one for its Python: make wheel ARGS=/usr/bin/python3.13
image-root:
	@rm -rf build/image/root
	@deploy/image/root build/image/root $(ARGS)

# One stamp for each stage, so that a second run does nothing and needs no network.
$(VENV)/.created: pyproject.toml scripts/setup
	@PYTHON=$(PYTHON) scripts/setup
	@touch $@

$(VENV)/.built: $(VENV)/.created $(SOURCES)
	@scripts/build
	@touch $@

$(VENV)/.tested: $(VENV)/.built
	@scripts/extras test
	@touch $@

$(VENV)/.linted: $(VENV)/.tested
	@scripts/extras lint
	@touch $@

$(VENV)/.sieged: $(VENV)/.tested
	@scripts/extras load
	@touch $@

$(VENV)/.documented: $(VENV)/.built
	@scripts/extras docs
	@touch $@

lint: $(VENV)/.linted
	PATH=$(VENV)/bin:$$PATH ruff check .
	PATH=$(VENV)/bin:$$PATH ruff format --check .
	PATH=$(VENV)/bin:$$PATH cython-lint native
	$(VENV)/bin/clang-format --dry-run -Werror $(C)
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy
	MYPYPATH=proxy:native $(PY) -m mypy.stubtest modelward_native $(STUBTEST)

# The generated pages of docs/reference/, the figures in all documents, and the site in build/site.
docs: $(VENV)/.documented dashboards
	$(PY) -m scripts.docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

bench: bench-stages bench-race bench-hop bench-latency

$(MODULES:%=bench-%): bench-%: $(VENV)/.tested
	$(PY) -m loadtests.$* $(ARGS)

bench-theft: $(VENV)/.tested
	$(PY) -m loadtests.theft $(ARGS)
	$(PY) -m loadtests.honest $(filter-out --guarded,$(ARGS))

bench-hop: $(VENV)/.tested
	$(PY) -m loadtests.hop $(ARGS)
	$(PY) -m loadtests.hop --tls $(ARGS)

bench-latency: $(VENV)/.tested
	$(PY) -m loadtests.hop.latency $(ARGS)

bench-audit-kills: $(VENV)/.tested
	$(PY) -m loadtests.audit_kills $(ARGS)

bench-attack: $(VENV)/.tested
	$(PY) -m loadtests.attack all $(ARGS)

bench-siege: $(VENV)/.sieged
	$(PY) -m loadtests.siege $(ARGS)

bench-overload: $(VENV)/.sieged
	$(PY) -m loadtests.siege.overload $(ARGS)

# The anomaly score on labelled tables: make bench-adbench ARGS="--tables DIRECTORY --nested"
bench-adbench: $(VENV)/.tested
	$(PY) -m tests.bench.adbench $(ARGS)

bench-fuzz: $(VENV)/.tested
	@scripts/fuzz $(ARGS)

# The suite with AddressSanitizer, UBSan, bounds checks and asserts in every compiled module, in a tree of its own.
bench-sanitize: $(VENV)/.tested
	@scripts/sanitized test $(ARGS)

clean:
	rm -rf build *.egg-info proxy/modelward/descriptors.pb $(VENV)/.built $(VENV)/.tested $(VENV)/.linted $(VENV)/.sieged $(VENV)/.documented $(VENV)/.drawn
	find native -name '*.so' -delete

# deploy/grafana/dashboards, which is part of the repository as the generated pages are.
.PHONY: dashboards bench-alerts
dashboards: $(VENV)/.drawn
	$(PY) -m scripts.dashboards

$(VENV)/.drawn: $(VENV)/.built
	@scripts/extras dashboards
	@touch $@

BENCHES += bench-alerts
bench-alerts: $(VENV)/.tested
	$(PY) -m loadtests.alerts $(ARGS)
