# Everything is set up on first use: system packages, a virtual environment in .venv, the compiled modules.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Of tests at a time: most of their time is waiting. PROCESSES=0 runs them in pytest's own process.
PROCESSES ?= 3
SOURCES := setup.py pyproject.toml $(wildcard native/modelward_native/*/*.[chp]* protos/*.proto)

.PHONY: demo test build debug asan fuzz lint typecheck docs bench race hop load soak slow hedge through restarts limits reloads promote fairness attack idle overload mirror verdicts nodes clean

demo: $(VENV)/.built
	@$(VENV)/bin/modelward demo $(DEMO)

test: $(VENV)/.tested
	@scripts/peers
	$(PY) -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST)

build: $(VENV)/.built

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

# Bounds checks, asserts and AddressSanitizer in every compiled module, in a tree and environment of its own.
debug: $(VENV)/.tested
	@scripts/sanitized build

asan: $(VENV)/.tested
	@scripts/sanitized test $(PYTEST)

fuzz: $(VENV)/.tested
	@scripts/fuzz $(FUZZ)

lint: $(VENV)/.linted
	PATH=$(VENV)/bin:$$PATH ruff check .
	PATH=$(VENV)/bin:$$PATH ruff format --check .
	PATH=$(VENV)/bin:$$PATH cython-lint native
	$(MAKE) --no-print-directory typecheck

# The generated pages of docs/reference/, the figures in all documents, and the site in build/site.
docs: $(VENV)/.documented
	$(PY) -m scripts.docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

typecheck: $(VENV)/.linted
	$(VENV)/bin/mypy

bench: $(VENV)/.tested
	$(PY) -m loadtests.bench $(BENCH)
	$(MAKE) --no-print-directory hop

race: $(VENV)/.tested
	$(PY) -m loadtests.race $(RACE)

hop: $(VENV)/.tested
	$(PY) -m loadtests.hop $(HOP)
	$(PY) -m loadtests.hop --tls $(HOP)
	$(PY) -m loadtests.hop.latency $(LATENCY)

hedge: $(VENV)/.tested
	$(PY) -m loadtests.hedge $(HEDGE)

through: $(VENV)/.tested
	$(PY) -m loadtests.through $(THROUGH)

attack: $(VENV)/.tested
	$(PY) -m loadtests.attack all $(ATTACK)

restarts: $(VENV)/.tested
	$(PY) -m loadtests.restarts $(RESTARTS)

limits: $(VENV)/.tested
	$(PY) -m loadtests.limits $(LIMITS)

fairness: $(VENV)/.tested
	$(PY) -m loadtests.fairness $(FAIRNESS)

reloads: $(VENV)/.tested
	$(PY) -m loadtests.reload $(RELOADS)

verdicts: $(VENV)/.tested
	$(PY) -m loadtests.verdicts $(VERDICTS)

nodes: $(VENV)/.tested
	$(PY) -m loadtests.nodes

mirror: $(VENV)/.tested
	$(PY) -m loadtests.mirror $(MIRROR)

promote: $(VENV)/.tested
	$(PY) -m loadtests.promote $(PROMOTE)

slow: $(VENV)/.tested
	$(PY) -m loadtests.slow $(SLOW)

soak: $(VENV)/.tested
	$(PY) -m loadtests.soak $(SOAK)

idle: $(VENV)/.tested
	$(PY) -m loadtests.idle $(IDLE)

# make load PEER=envoy besieges Envoy in Modelward's place
PEER ?= modelward
load: $(VENV)/.sieged
	$(PY) -m loadtests.siege --peer $(PEER) $(LOAD)

overload: $(VENV)/.sieged
	$(PY) -m loadtests.siege.overload $(OVERLOAD)

clean:
	rm -rf build *.egg-info proxy/modelward/descriptors.pb $(VENV)/.built $(VENV)/.tested $(VENV)/.linted $(VENV)/.sieged $(VENV)/.documented
	find native -name '*.so' -delete
