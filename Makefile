PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECIPE := recipes/musdb18/DemucsUpsamplers

.PHONY: demo test test-all known-faults lint benchmarks clean ffmpeg chromium

demo: $(VENV)/installed ffmpeg
	$(RECIPE)/run.sh --demo --variant all --exp_root exp --data_root exp/data --python $(BIN)/python

# at most six minutes on two cores; test-all adds what takes longer
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2
test: $(VENV)/installed ffmpeg chromium
	$(PYTEST) -m "not slow"

test-all: $(VENV)/installed ffmpeg chromium
	$(PYTEST)

# scripts kept beside the checkout, in ../shared/faults; .ci/known_faults.py --all runs the slow ones, too
known-faults: $(VENV)/installed ffmpeg
	$(BIN)/python .ci/known_faults.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy asteroid_upsamplers
	$(BIN)/lint-imports

# about an hour and a half on two cores, with nothing else running; a GPU is used where there is one
benchmarks: $(VENV)/installed
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) exp build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $@

# musdb and museval need ffmpeg on the PATH
ffmpeg:
	@command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ffmpeg >/dev/null; \
	else \
	  echo "error: ffmpeg is needed: apt-get install ffmpeg, brew install ffmpeg or conda install ffmpeg" >&2; exit 1; \
	fi

# the tests of pages want a browser; where none can be installed they are skipped
chromium:
	@command -v chromium >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else \
	  echo "note: without chromium the tests of pages are skipped" >&2; \
	fi
