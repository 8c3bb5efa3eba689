# Every target prints what it does; `make help` lists them.
PYTHON ?= python3
VENV := .venv/bin
BENCH_CALLS ?= 1 50
# Most tests wait: for a server, a process, real time.
TEST_JOBS ?= $(shell expr 3 \* $$(nproc 2>/dev/null || echo 1))
ALL_JOBS ?= 3
PYTEST = $(VENV)/python -m pytest --dist
LOCK = $(VENV)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --quiet
ALL = --extra edge --extra stt --extra llm --extra tts --extra tools --extra local --extra piper --extra traces --extra server

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo run up down call setup-number check test-fast test test-all test-compose lint audit format bench bench-bars bench-compare chaos soak claims generated lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install:
	@$(PYTHON) tools/install.py requirements.lock

install-dev:
	@$(PYTHON) tools/install.py requirements-dev.lock

demo: install ## a simulated phone call, end to end, without keys: prints it, writes out/demo [PROVIDERS=fake SCENARIO=examples/order-status]
	@PROVIDERS=$(PROVIDERS) SCENARIO=$(SCENARIO) $(VENV)/python -m tools.demo

run: install ## the whole system in the foreground; Ctrl-C stops it (reads .env) [QUIET=1]
	@$(VENV)/python -m tools.run $(if $(QUIET),--quiet)

up: ## the whole system in containers, docs/compose.md (reads .env, needs none)
	docker compose up --build --wait

down: ## stop the containers, the edge first: calls under way are served to their end; the volumes stay
	@echo "calls under way are served to their end, for 5 minutes at most (cut them: docker compose kill edge)"
	docker compose down

call: install ## place an outbound call through the edge of `make run`: make call TO=+911234567890 [AGENT=name]
	@test -n "$(TO)" || { echo "Which number? make call TO=+911234567890"; exit 2; }
	@$(VENV)/python -m edge.call --to "$(TO)" $(if $(AGENT),--agent "$(AGENT)")

setup-number: install ## tell Vobiz our URLs: make setup-number NUMBER=+911234567890 (add DRY=1 to look only)
	@$(VENV)/python -m edge.setup $(if $(NUMBER),--number "$(NUMBER)") $(if $(DRY),--dry-run)

check: ## before every commit: lint, and the fast lane of the tests beside it; 30 s on two cores
	@$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) lint test-fast

test-fast: install-dev ## the fast lane: no server, model, process or real time; few examples for each property
	$(PYTEST) worksteal -n 2 -m "fast and not exhaustive and not slow" --hypothesis-profile=brief

test: install-dev ## all tests that take no minutes of real time, with a Redis of their own [TEST_JOBS=6]
	$(PYTEST) loadfile -n $(TEST_JOBS) -m "not slow"

test-all: install-dev ## all tests, as CI runs them [ALL_JOBS=3]
	$(PYTEST) loadfile -n $(ALL_JOBS)

test-compose: install-dev ## docker-compose.yml on a real Docker engine: build, phone, kill, replace, stop; writes out/compose [SCENES="--only demo,down"]
	@$(VENV)/python -m tests.compose $(SCENES)

lint: install-dev ## format check, lint, types, import contracts, house rules
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/python -m pytest tests/test_house.py

audit: install-dev ## ask a vulnerability service about what requirements.lock pins (needs the internet)
	$(VENV)/python -m deploy.audit

format: install-dev ## format the code
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

bench: install-dev ## measure the bus, the edge, and answers by the whole stack; writes out/bench [BENCH_CALLS="50" BENCH="--tls"]
	$(VENV)/python -m benchmarks.bus --seconds 10
	$(VENV)/python -m benchmarks.edge --seconds 6
	$(VENV)/python -m benchmarks.answers --calls $(BENCH_CALLS) --call-s 28 --ramp-s 5 --profile 6 $(BENCH)

bench-bars: install-dev ## measure what the bars are about, and print which are kept; ten minutes
	$(VENV)/python -m benchmarks.answers --bars --name bars

bench-compare: install-dev ## two benchmark files, or releases, side by side: make bench-compare OLD=0.1.0 NEW=out/bench/bars.json
	@test -n "$(OLD)" -a -n "$(NEW)" || { echo "Which? make bench-compare OLD=0.1.0 NEW=out/bench/bars.json"; exit 2; }
	@$(VENV)/python -m benchmarks.compare "$(OLD)" "$(NEW)"

chaos: install-dev ## kill, freeze and restart real processes under 20 live calls; writes out/chaos [CHAOS="--only stt,edge"]
	$(VENV)/python -m benchmarks.chaos $(CHAOS)

soak: install-dev ## 20 calls come and go for 30 minutes: nothing grows, nothing stays; writes out/soak [SOAK="--minutes 3"]
	$(VENV)/python -m benchmarks.soak $(SOAK)

claims: install-dev ## are the figures of README and docs true? runs the command beside each, ten minutes in all [CLAIMS="--list"]
	@$(VENV)/python -m tools.claims $(CLAIMS)

generated: install-dev ## make anew what has a source: dashboards, rules for Kubernetes, links to the runbook, the schema of agent files
	$(VENV)/python -m deploy.runbook_url
	$(VENV)/python -m deploy.grafana.build
	$(VENV)/python -m deploy.k8s.prometheus_rules
	$(VENV)/python -m tools.agent_schema

lock: install-dev ## make the lock files anew from pyproject.toml: this machine's, and one for each image
	$(LOCK) $(ALL) --output-file requirements.lock
	$(LOCK) $(ALL) --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	$(LOCK) --extra edge --extra traces --constraint requirements.lock --output-file deploy/locks/edge.lock
	$(LOCK) --extra stt --extra traces --constraint requirements.lock --output-file deploy/locks/stt.lock
	$(LOCK) --extra llm --extra traces --constraint requirements.lock --output-file deploy/locks/llm.lock
	$(LOCK) --extra tts --extra traces --constraint requirements.lock --output-file deploy/locks/tts.lock
	$(LOCK) --extra tools --extra traces --constraint requirements.lock --output-file deploy/locks/tools.lock
	$(LOCK) --extra stt --extra llm --extra tts --extra local --extra piper --extra traces --constraint requirements.lock \
		--output-file deploy/locks/local.lock

clean: ## remove .venv and out
	rm -rf .venv out
