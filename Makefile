# Clicklab: the only entry point. Bare `make` lists the verbs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
DATA ?=
ENV ?= env.yaml
PORT ?= 3000
HOST ?= 127.0.0.1

VENV := .venv
BIN := $(VENV)/bin
# The stamp's name holds the checksum of the lock: a changed lock is a new target, a touched one is not.
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)

export BENTOML_DO_NOT_TRACK ?= True
export DO_NOT_TRACK ?= 1
export PLOOMBER_STATS_ENABLED ?= false
export GIT_PYTHON_REFRESH ?= quiet
# Bentos belong to the project, not to the user: two clones do not take each other's.
export BENTOML_HOME ?= $(CURDIR)/.bentos
# The programs of .venv come first on PATH, so that Ploomber and MLflow find each other.
export PATH := $(CURDIR)/$(BIN):$(PATH)

##@ Work

.PHONY: help
help:  ## list the verbs (bare `make` does the same)
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; name another with make PYTHON=/path/to/python3.11")'
	@command -v uv >/dev/null || test -x .uv/bin/uv || { echo "Installing uv into .uv ..."; $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	@test -x $(BIN)/python || $(call uv) venv --quiet --python $(PYTHON) $(VENV)
	@echo "Installing the packages of requirements.lock into $(VENV) ..."
	@$(call uv) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(call uv) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -m tasks.jupyter.setup
	@rm -f $(VENV)/.installed-*; touch $@
uv = $$(command -v uv || echo .uv/bin/uv)

.PHONY: run backtest schema lab ui migrate
run: $(STAMP)  ## from a raw log to the champion in a Bento (DATA=, ENV=)
	@$(BIN)/clicklab run --env $(ENV) $(if $(DATA),--data '$(DATA)')

DAYS ?= 5
WINDOWS ?= 3,6
backtest: $(STAMP)  ## anew, on fewer days, or go on? (DAYS=, WINDOWS=, MODEL=)
	@$(BIN)/clicklab backtest --env $(ENV) --days $(DAYS) --windows '$(WINDOWS)' --model '$(MODEL)'

OUT ?=
LABEL ?=
schema: $(STAMP)  ## a first schema for a log (DATA=, OUT=, LABEL=, FORCE=1)
	@$(BIN)/clicklab schema '$(DATA)' $(if $(OUT),--out '$(OUT)') $(if $(LABEL),--label '$(LABEL)') $(if $(FORCE),--force)

LAB ?=
lab: $(STAMP)  ## JupyterLab, with the pipeline's inputs (LAB='--port 9000')
	@mkdir -p notebooks/scratch
	@$(BIN)/jupyter lab --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB)

# Make passes STORE, TO and the like on in the environment: a command line would show their passwords.
UI_PORT ?= 5000
ui: $(STAMP)  ## the MLflow UI on http://127.0.0.1:5000 (UI_PORT=, STORE=)
	@$(BIN)/clicklab ui --env $(ENV) --port $(UI_PORT)

migrate: $(STAMP)  ## copy the local store to a team's (TO=, ARTIFACTS=, FROM=)
	@$(BIN)/clicklab migrate --env $(ENV)

.PHONY: setup doctor add lock
setup: $(STAMP)  ## install into .venv; does nothing unless the lock changed

AWS ?=
doctor: $(STAMP)  ## check for conflicting versions; AWS=1 checks a deployment
	@$(if $(AWS),$(BIN)/python -m infra.release.doctor --env $(STAGE),$(BIN)/clicklab doctor)

PACKAGE ?=
WHY ?=
add: $(STAMP)  ## add a package, moving no other (PACKAGE=, WHY=)
	@$(BIN)/clicklab add '$(PACKAGE)' --why '$(WHY)' --compile "$(compile)"
	@$(MAKE) setup

compile = $(call uv) pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --quiet --output-file requirements.lock
lock:  ## resolve pyproject.toml anew into requirements.lock
	@$(compile) --upgrade

# Not installed: the checker is no part of what it checks.
.PHONY: advisories
advisories: $(STAMP)  ## check requirements.lock against published advisories
	@$(call uv) tool run pip-audit@2.10.1 --require-hashes --disable-pip --progress-spinner off -r requirements.lock

.PHONY: clean gc
clean:  ## remove products and caches, listed; stores stay
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -B -m tasks.retention.clean

YES ?=
gc: $(STAMP)  ## old Bentos, models, leftovers: shown; YES=1 removes them
	@$(BIN)/clicklab gc --env $(ENV) $(if $(YES),--yes)

##@ Ideas (docs/ideas.md)

NB ?=
AFTER ?=
MINUTES ?=
MEMORY_GB ?=
ifeq ($(origin AS),default)  # make's own name of an assembler
AS :=
endif
.PHONY: promote demote why lineage replay
promote: $(STAMP)  ## an idea into the project (NB=), or a model to serve (FORCE=)
	@$(BIN)/clicklab promote '$(NB)' $(if $(FORCE),--force '$(FORCE)' --why '$(subst ','\'',$(WHY))' --env $(ENV)) $(if $(AS),--as '$(AS)') $(if $(AFTER),--after '$(AFTER)') \
	  $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(MEMORY_GB),--memory-gb '$(MEMORY_GB)')

demote: $(STAMP)  ## take out what promote wrote (NAME=, FORCE=1)
	@$(BIN)/clicklab demote '$(NAME)' $(if $(FORCE),--force)

why: $(STAMP)  ## what makes tasks out of date (TASK=)
	@$(BIN)/clicklab why --env $(ENV) $(if $(TASK),--task '$(TASK)')

lineage: $(STAMP)  ## what a model was made of (MODEL=, BENTO=, VERSION=, RUN=)
	@$(BIN)/clicklab lineage --env $(ENV) --model '$(MODEL)' --bento '$(BENTO)' --version '$(VERSION)' --run '$(RUN)'

replay: $(STAMP)  ## train a model again at its commit, and compare (RUN=)
	@$(BIN)/clicklab replay '$(RUN)' --env $(ENV)

##@ Serve and share

.PHONY: serve predict prove score audit publish rollback ledger
serve: $(STAMP)  ## the champion's Bento on http://127.0.0.1:3000 (HOST=, PORT=)
	@$(BIN)/clicklab serve --env $(ENV) --host $(HOST) --port $(PORT)

predict: $(STAMP)  ## send the schema's example impression to `make serve`
	@$(BIN)/clicklab predict --env $(ENV) --url http://$(HOST):$(PORT)

prove: $(STAMP)  ## prove that notebook, artifact, Bento and endpoint agree
	@$(BIN)/clicklab prove --env $(ENV)

score: $(STAMP)  ## click probabilities for a file (DATA=, OUT=, KAGGLE=1)
	@$(BIN)/clicklab score '$(DATA)' '$(OUT)' --env $(ENV) $(if $(MODEL),--model '$(MODEL)') $(if $(KAGGLE),--kaggle)

REQUEST ?=
EXPOSURES ?= $(CLICKLAB_EXPOSURES)
audit: $(STAMP)  ## explain an answer (REQUEST=, EXPOSURES=)
	@$(BIN)/clicklab audit '$(REQUEST)' --exposures '$(EXPOSURES)' --env $(ENV)

POINTER ?=
TO ?=
publish: $(STAMP)  ## publish the champion to a pointer (POINTER=, FOLDER=)
	@$(BIN)/clicklab publish '$(POINTER)' --env $(ENV) $(if $(FOLDER),--folder '$(FOLDER)')

rollback: $(STAMP)  ## point back to an earlier version (POINTER=, TO=)
	@$(BIN)/clicklab rollback '$(POINTER)' $(if $(TO),--to '$(TO)')

ACCEPT ?=
ledger: $(STAMP)  ## every promotion decision (ACCEPT=1: though its end is lost)
	@$(BIN)/clicklab ledger --env $(ENV) $(if $(ACCEPT),--accept)

SIMULATE ?=
CLICKS ?=
EXPERIMENT ?=
.PHONY: monitor ab-test tell
monitor: $(STAMP)  ## clicks against predictions, drift, alerts (SIMULATE=1)
	@$(BIN)/clicklab monitor --env $(ENV) $(if $(SIMULATE),--simulate)

ab-test: $(STAMP)  ## variants compared, in one sentence (EXPOSURES=, CLICKS=)
	@$(BIN)/clicklab ab-test --exposures '$(EXPOSURES)' --clicks '$(CLICKS)' --experiment '$(EXPERIMENT)' --env $(ENV)

tell: $(STAMP)  ## the day in a notice to chat, e-mail, SNS (docs/notices.md)
	@$(BIN)/clicklab tell --env $(ENV)

##@ Quality

JOBS ?= 2

.PHONY: test test-fast test-nightly lint check format
test: $(STAMP)  ## all tests except the nightly ones (JOBS=processes)
	@$(BIN)/python -m pytest -m 'not nightly' -n $(JOBS) --dist loadfile

test-fast: $(STAMP)  ## tests that start no servers, kernels or pipelines
	@$(BIN)/python -m pytest -m 'not slow and not nightly' -n $(JOBS) --dist loadfile

test-nightly: $(STAMP)  ## tests that take minutes each: deployments, rehearsals
	@$(BIN)/python -m pytest -m nightly

lint: $(STAMP)  ## check style, format and types; change nothing
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

check: lint test  ## lint and test: what CI runs

format: $(STAMP)  ## format the code and strip notebook outputs
	@$(BIN)/clicklab parameters
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format . && $(BIN)/python -m tasks.jupyter.notebook_git notebooks/*.ipynb

##@ Measure

ROWS ?= 1000000
SCALE ?=

.PHONY: bench
bench: $(STAMP)  ## time against peers (ROWS=; SCALE=1, FEATURES=1, FIELDS=1)
	@$(BIN)/python -m $(if $(SCALE),bench.scale,$(if $(FEATURES),bench.features,$(if $(FIELDS),bench.fields,bench.throughput)) --rows $(ROWS))

.PHONY: bench-quality
QUALITY ?=
bench-quality: $(STAMP)  ## log loss against CPU seconds (QUALITY='--seeds 7 8')
	@$(BIN)/python -m bench.quality $(QUALITY)

.PHONY: bench-serve soak
SOAK ?= 30
bench-serve: $(STAMP)  ## time the service against named peers
	@$(BIN)/python -m bench.serving

soak: $(STAMP)  ## SOAK= minutes at 300 requests/s, a model swap every minute
	@$(BIN)/python -m bench.serving --soak $(SOAK)

##@ AWS (docs/aws.md)

DATA_AWS = $(if $(DATA),--data '$(DATA)')
STAGE ?= small
MODEL ?=
RUN ?=
TASK ?=
IMAGE ?=
SHARE ?= 10
SCENARIO ?= whole
ENGINE ?=
infra = $(BIN)/python -m infra

.PHONY: asl submit runs logs resume stop schedule image push scan plan outputs deploy canary release abort down rehearse smoke sbom
asl: $(STAMP)  ## write the state machine's plan from the DAG and env.aws.yaml
	@$(infra).state_machine

submit: $(STAMP)  ## run the pipeline on AWS and follow it (DATA=, MODEL=)
	@$(infra).runs submit $(DATA_AWS) $(if $(MODEL),--model '$(MODEL)')

runs: $(STAMP)  ## the latest runs; RUN= shows one, task by task
	@$(infra).runs $(if $(RUN),show '$(RUN)',list)

logs: $(STAMP)  ## what a run's tasks wrote (RUN=, TASK=)
	@$(infra).runs logs '$(RUN)' $(if $(TASK),--task '$(TASK)')

resume: $(STAMP)  ## resume a run that failed or was stopped (RUN=)
	@$(infra).runs resume '$(RUN)'

stop: $(STAMP)  ## stop a run; it can be resumed (RUN=)
	@$(infra).runs stop '$(RUN)'

schedule: $(STAMP)  ## turn the schedule on or off (STATE=on|off)
	@$(infra).runs schedule $(STATE)

image: $(STAMP)  ## build the images (BENTO=tag, DIRTY=1)
	@$(infra).images build $(if $(DIRTY),--dirty) $(if $(BENTO),--bento '$(BENTO)')

push: $(STAMP)  ## push them to the deployment's repositories
	@$(infra).images push $(if $(DIRTY),--dirty) $(if $(BENTO),--bento '$(BENTO)')

sbom: $(STAMP)  ## list what the images contain, as SPDX, by syft
	@$(infra).images sbom $(if $(DIRTY),--dirty) $(if $(BENTO),--bento '$(BENTO)')

scan: $(STAMP)  ## what the registry found in the pushed images
	@$(infra).images.registry_findings

plan: $(STAMP)  ## show what deploy would change (STAGE=)
	@$(infra).release plan --env $(STAGE)

outputs: $(STAMP)  ## save the deployment's outputs, print its addresses (STAGE=)
	@$(infra).release outputs --env $(STAGE)

deploy: $(STAMP)  ## show the plan, ask, apply (STAGE=, ONLY=images, YES=1)
	@$(infra).release deploy --env $(STAGE) $(if $(YES),--yes) $(if $(ONLY),--only $(ONLY))

canary: $(STAMP)  ## give a new revision a share of the traffic (SHARE=, IMAGE=)
	@$(infra).release canary --share $(SHARE) $(if $(IMAGE),--image '$(IMAGE)')

release: $(STAMP)  ## give the canary, or a new revision, all traffic (IMAGE=)
	@$(infra).release release $(if $(IMAGE),--image '$(IMAGE)')

abort: $(STAMP)  ## go back to the previous revision
	@$(infra).release abort

.PHONY: status
status: $(STAMP)  ## what each color runs, and its share of the traffic
	@$(infra).release status

down: $(STAMP)  ## show what goes, ask, destroy, check that nothing remains
	@$(infra).release down $(if $(NAME),--yes '$(NAME)') $(if $(WITH_DATA),--with-data)

rehearse: $(STAMP)  ## play AWS on this machine (SCENARIO=name|all|whole)
	@$(BIN)/python -m tests.rehearsal $(SCENARIO)

smoke: $(STAMP)  ## prove on AWS what only an account can, and clean up (AWS=1)
	@$(infra).release.smoke $(if $(AWS),--aws)
