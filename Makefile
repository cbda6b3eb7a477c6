PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# compiled and listed now, not while somebody waits
PREPARE := "from fairness_core import catalogue, kernels, store; kernels.prepare(); store.keep_catalogue(catalogue.build())"

.PHONY: run test test-full bench lint screenshots clean

run: $(VENV)/app.stamp
	$(BIN)/python -m streamlit run app.py

test: $(VENV)/dev.stamp lint
	$(BIN)/python tests/find_browser.py
	$(BIN)/python -m pytest -m "not full and not gpu" tests/core tests/test_architecture.py
	$(BIN)/python -m pytest -m "not full and not gpu" -n 2 --dist loadfile tests/pages  # one thread each
	$(BIN)/python -m pytest -m "not full and not gpu" tests/browser

test-full: $(VENV)/dev.stamp lint
	$(BIN)/python tests/find_browser.py
	$(BIN)/python -m pytest -m "not gpu"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/dev.stamp
	$(BIN)/python -m fairness_core bench bootstrap --json
	$(BIN)/python -m fairness_core bench frontier --json
	$(BIN)/python -m fairness_core bench events --json
	$(BIN)/python -m fairness_core bench drag --json
	$(BIN)/python -m fairness_core bench start --json
	$(BIN)/python -m fairness_core bench upload --json
	$(BIN)/python -m fairness_core bench postprocessing --json
	$(BIN)/python -m fairness_core bench intra --json
	$(BIN)/python -m fairness_core bench cut --json
	$(BIN)/pip install --quiet --no-deps -r requirements-bench.txt
	$(BIN)/python -m fairness_core bench attack --json

screenshots: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/_screenshots.py screenshots

clean:
	rm -rf $(VENV) screenshots

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/app.stamp: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -c $(PREPARE)
	touch $@

$(VENV)/dev.stamp: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -c $(PREPARE)
	touch $@ $(VENV)/app.stamp
