# Two commands for everybody:
#   make demo    train on the digits that come along, test, report
#   make test    the whole suite
# Both make .venv first if it is missing.

PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test check docs bench format lowest audit clean

demo: .venv/train
	.venv/bin/foveal demo

test: .venv/all
	.venv/bin/python -m pytest --numprocesses 2

check: .venv/all
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/codespell
	.venv/bin/python docs/hooks/check_markdown.py

# The documentation, into site/; open site/index.html. It needs no network.
docs: .venv/all
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

# The short measurements: some minutes on an idle machine, printed and not kept. benchmarks/README.md lists the others.
#   make bench DATA=cifar10      (made by: foveal data get cifar10 cifar10)
DATA ?= cifar10
bench: .venv/all
	.venv/bin/python -m benchmarks.speed.throughput $(DATA) --quick --tensorflow
	.venv/bin/python -m benchmarks.speed.evaluation $(DATA) --quick --tensorflow
	.venv/bin/python -m benchmarks.speed.start $(DATA) --recipe sprint --quick --tensorflow
	.venv/bin/python -m benchmarks.speed.process $(DATA) --recipe sprint --quick

format: .venv/all
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# torch comes first, at the pinned version. On Linux the default build is the one for GPUs, several gigabytes of it;
#   make demo PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# takes the build for the CPU from PyTorch's own index.
.venv/train: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(PIP) install --constraint constraints.txt --editable '.[train]'
	touch $@

.venv/all: .venv/train
	$(PIP) install --constraint constraints.txt --editable '.[all,test]'
	touch $@

# Whether what is installed has known vulnerabilities: asks PyPI's advisory database, so it needs the network.
audit: .venv/all
	test -x .venv-audit/bin/pip-audit || ($(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip --quiet install pip-audit)
	.venv-audit/bin/pip-audit --path $$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# The suite with the oldest versions that pyproject.toml admits (torch aside, which is the pinned one). Their own
# use of each other's newest releases may be deprecated by now; that is not ours to mend.
lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -W ignore::DeprecationWarning

.venv-lowest/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip --quiet install torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(PYTHON) tests/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip --quiet install --constraint .venv-lowest/constraints.txt --editable '.[all,test]'
	touch $@

clean:
	rm -rf .venv .venv-lowest .venv-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis demo
