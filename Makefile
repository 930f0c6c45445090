# make run: install, then 20 cycles of the embedded experiment.   make test: every check CI makes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PROCESSES ?= 2
export OMP_NUM_THREADS ?= 2
# glibc keeps freed buffers instead of returning them: 1.5 to 2 times faster model steps
export MALLOC_MMAP_THRESHOLD_ := 33554432
export MALLOC_TRIM_THRESHOLD_ := 536870912
export MALLOC_TOP_PAD_ := 67108864

.PHONY: install run test lint services chaos bench rehearse quality clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

run: install
	$(BIN)/losda run embedded --out experiments/embedded

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the files side by side, each process with one thread
test: install lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile

# the whole of `losda up`, for real: minutes
services: install
	$(BIN)/python -m pytest -m services

# 100 kills of server, workers, drive, database, S3 server and of all, in 60 cycles: hours
CHAOS_OUT ?= /tmp/losda-chaos
chaos: install
	$(BIN)/python -m tests.service_chaos --cycles 60 --kills 100 --out $(CHAOS_OUT)

bench: install
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only

rehearse: install
	$(BIN)/losda rehearse era5

# hit and false-alarm rates of the quality control on planted errors, at the positions of FILES
quality: install
	$(BIN)/python -m tests.planted_errors $(FILES)

clean:
	rm -rf $(VENV) experiments rehearsals
