# The front door: every target but help, lock and clean first sees to it that .venv is there.
# Written for GNU make 3.81 (macOS) and POSIX sh.

bin = .venv/bin
# Of fuzz: for each parser, to the daemons, and for each test that makes up its inputs.
SECONDS = 60
CONNECTIONS = 100000
EXAMPLES = 20000

.DEFAULT_GOAL = help
.PHONY: help setup demo test check docs bench fuzz attacks soak peers lock clean

help: ## list the targets (the default)
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv/ with the package and its development tools, from the locks (PYTHON=… chooses one)
	@sh requirements/setup.sh

demo: setup ## run the three roles on this machine and show what they do (ARGS=…: options of asynctls demo)
	@$(bin)/asynctls demo $(ARGS)

test: setup ## run the tests (ARGS=…: options of pytest)
	@$(bin)/python -m pytest -n auto --dist worksteal $(ARGS)

check: setup ## lint, format, types, layers, and that no file names a package registry
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	@sh .ci/no-registry.sh

docs: ## make the site, dist/docs/index.html, from docs/ and the docstrings; a warning is an error
	@sh requirements/setup.sh .venv docs
	@$(bin)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet $(ARGS) docs dist/docs
	@echo "The site is dist/docs/index.html."

bench: setup ## measure us beside nginx, haproxy, hitch, stunnel, ghostunnel and Python's own TLS (ARGS=--full: to quote)
	@$(bin)/python -m tests.bench $(ARGS)

fuzz: ## fuzz parsers (SECONDS=60 each), daemons (CONNECTIONS=100000), what tests make up (EXAMPLES=20000)
	@sh requirements/setup.sh .venv fuzz
	@$(bin)/python -m tests.fuzz --seconds $(SECONDS)
	@$(bin)/python -m pytest tests/fuzz/test_daemons.py -s --connections=$(CONNECTIONS) --timeout=0 -o asyncio_debug=false
	@$(bin)/python -m pytest tests/fuzz tests -m hypothesis --hypothesis-profile=fuzz --examples=$(EXAMPLES) --timeout=0 $(ARGS)

attacks: setup ## run the attacks that must fail, and show each succeed where its defence is taken away
	@$(bin)/python -m pytest tests/attacks --exhaust --quiet $(ARGS)

soak: setup ## run the long runs: roles killed under load, storms, a mixed load (ARGS=--minutes=10) with its curves
	@$(bin)/python -m pytest tests/soak tests/faults/test_kills.py tests/faults/test_clocks.py --long --verbose $(ARGS)

peers: ## install the other programs that some tests and benchmarks compare with (Debian, Ubuntu)
	@sh .ci/peers.sh

lock: ## make the locks in requirements/ anew (needs uv; ARGS=--upgrade takes new releases)
	@sh requirements/lock.sh $(ARGS)

clean: ## remove .venv/ and all that the tools left behind; the demo's and the roles' state stays
	rm -rf .venv dist bench-results soak-results .coverage .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
