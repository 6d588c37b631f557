# finetui: `make` sets everything up in .venv and opens the wizard.
# PYTHON=… picks the interpreter, TORCH="torch==2.12.0" the torch where none is there.

SHELL := /bin/sh
BIN := .venv/bin
FINETUI := $(BIN)/finetui

# the newest Python from 3.11 on; one whose torch is there already comes first
FIND_PYTHON = for p in "$(PYTHON)" python3 python python3.14 python3.13 python3.12 python3.11; do \
	[ -n "$$p" ] && command -v "$$p" >/dev/null 2>&1 && \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done

.PHONY: run setup setup-dev demo test lint screenshots

run: setup
	@$(FINETUI)

setup:
	@$(call bootstrap,)

setup-dev:
	@$(call bootstrap,--dev)

demo: setup
	@$(FINETUI) demo

test: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

screenshots: setup-dev
	$(BIN)/python screenshots/make.py

define bootstrap
	python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo "; \
		if command -v apt-get >/dev/null 2>&1; then get="$${sudo}apt-get install -y python3.11 python3.11-venv"; \
		elif command -v dnf >/dev/null 2>&1; then get="$${sudo}dnf install -y python3.11"; \
		else get="curl -LsSf https://astral.sh/uv/install.sh | sh && uv python install 3.12 --default"; fi; \
		echo "finetui setup: no Python 3.11 or newer is here: $$(python3 --version 2>/dev/null || echo none found). Run: $$get" >&2; \
		exit 1; \
	fi; \
	"$$python" -P core/bootstrap.py $(1)
endef
