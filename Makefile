# make search   installs what is missing, builds, and shows a search on the built-in data beside plain trainings
# make install  puts program, manual page, completions and library under PREFIX (/usr/local);  make deb: a Debian package
# make test     the tests;  make test-all adds the long ones (all released networks)
# make bench    how fast kernels and whole steps are here, beside the roof and oneDNN: bench/README.md
# make bench-peers  the same beside PyTorch and ONNX Runtime: bench/peers/README.md
# make crash    kills the program, and fills the disk, at every call that changes its files: minutes
# make fuzz     tries damaged files of every format, SECONDS=60 each: tests/fuzz/README.md
# make neon     builds the kernels' tests for 64-bit ARM and runs them in an emulator
# make outside  builds with clang, as a part of a project that uses the library
# make softgpu  builds the program and a software GPU that runs its CUDA half on the CPU: tests/softgpu/README.md
# make docs     makes pages for a browser of docs/ and of the comments in the sources
# make cifar10  fetches CIFAR-10 into data/
# make format | check | lint | clean
MAKEFLAGS += --no-print-directory
BUILD ?= build
JOBS ?= $(shell nproc)
CIFAR10 ?= data
CTEST_FLAGS ?= -LE long
TARGETS ?= all

BUILD_PACKAGES = g++ cmake nlohmann-json3-dev libcli11-dev libeigen3-dev libstb-dev libtomlplusplus-dev \
  libonnx-dev libprotobuf-dev libjs-chart.js
DOCS_PACKAGES = doxygen doxygen-awesome-css graphviz
TEST_PACKAGES = $(BUILD_PACKAGES) $(DOCS_PACKAGES) libgtest-dev chromium groff-base pkg-config zsh fish
# Other programs that judge the files we write; without them their tests are skipped (not in CI).
REFEREE_PACKAGES = clang python3-venv python3-torch python3-torchvision libopencv-dnn-dev libopencv-imgcodecs-dev

CIFAR10_URL = https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz
CIFAR10_SHA256 = c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd

PREFIX ?= /usr/local

# Several files are compiled as one, in three quarters of the time; UNITY=OFF compiles each alone, for who edits them.
UNITY ?= ON
CONFIGURE = cmake -S . -DCMAKE_UNITY_BUILD=$(UNITY)

.PHONY: build search install deb test test-all crash fuzz neon outside softgpu bench bench-peers docs cifar10 format check lint clean

build:
	@.ci/install-packages $(BUILD_PACKAGES)
	@$(CONFIGURE) -B $(BUILD) -DSTAGEWISE_TESTS=OFF >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log
	@cmake --build $(BUILD) -j $(JOBS) --target stagewise

search: build
	@bench/search/show $(BUILD)/stagewise

install: build
	@cmake --build $(BUILD) --target stagewise_manual
	@cmake --install $(BUILD) --prefix $(PREFIX)

# For the CPU: what CUDA's libraries need, Debian's packages can't say.
DEB = $(BUILD)-deb
deb:
	@.ci/install-packages $(BUILD_PACKAGES) dpkg-dev file
	$(CONFIGURE) -B $(DEB) -DSTAGEWISE_TESTS=OFF -DSTAGEWISE_CUDA=OFF $(CMAKE_FLAGS)
	cmake --build $(DEB) -j $(JOBS)
	cd $(DEB) && cpack -G DEB

test:
	@.ci/install-packages $(TEST_PACKAGES)
	-@.ci/install-packages $(REFEREE_PACKAGES)
	@tests/referees/install build-referees
	$(CONFIGURE) -B $(BUILD) -DSTAGEWISE_TESTS=ON $(CMAKE_FLAGS)
	cmake --build $(BUILD) -j $(JOBS) --target $(TARGETS)
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) $(CTEST_FLAGS)

test-all:
	$(MAKE) test CTEST_FLAGS=

neon:
	@JOBS=$(JOBS) .ci/neon $(BUILD)-neon

outside:
	@JOBS=$(JOBS) .ci/outside $(BUILD)-outside

crash:
	@.ci/install-packages $(BUILD_PACKAGES) libgtest-dev
	$(CONFIGURE) -B $(BUILD) -DSTAGEWISE_TESTS=ON $(CMAKE_FLAGS)
	cmake --build $(BUILD) -j $(JOBS) --target crash_test
	STAGEWISE_EVERY_CRASH=1 ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -R '^Every/Crash'

FUZZ = $(BUILD)-fuzz
SECONDS ?= 60
fuzz:
	@.ci/install-packages $(BUILD_PACKAGES) libgtest-dev clang libclang-rt-dev
	@$(CONFIGURE) -B $(FUZZ) -DSTAGEWISE_SANITIZE=fuzz -DSTAGEWISE_CUDA=OFF -DSTAGEWISE_KERNELS=portable \
	  -DCMAKE_CXX_COMPILER=clang++ $(CMAKE_FLAGS) >/dev/null
	@cmake --build $(FUZZ) -j $(JOBS) --target fuzzers
	@tests/fuzz/run $(FUZZ) $(SECONDS) $(FUZZ_FLAGS)

# One generation of cards is enough for it: it reads the PTX.
SOFTGPU = $(BUILD)-softgpu
softgpu:
	@.ci/install-packages $(TEST_PACKAGES)
	$(CONFIGURE) -B $(SOFTGPU) -DSTAGEWISE_CUDA=ON -DSTAGEWISE_CUDA_ARCHITECTURES=90 $(CMAKE_FLAGS)
	cmake --build $(SOFTGPU) -j $(JOBS) --target stagewise softgpu
	@echo "The CUDA half on the CPU, checked as it runs (small things only; how, and what else: tests/softgpu/README.md):"
	@echo "  LD_LIBRARY_PATH=$(SOFTGPU)/tests/softgpu/lib $(SOFTGPU)/stagewise train --device cuda --data synthetic \\"
	@echo "    --synthetic-train 64 --synthetic-test 16 --blocks 1 --epochs 1 --batch-size 8"

BENCHES ?= primitives onednn steps
bench:
	@.ci/install-packages $(BUILD_PACKAGES) libbenchmark-dev gnuplot-nox
	-@.ci/install-packages libdnnl-dev  # without it, onednn is left out
	$(CONFIGURE) -B $(BUILD) -DSTAGEWISE_TESTS=OFF -DSTAGEWISE_BENCH=ON
	cmake --build $(BUILD) -j $(JOBS) --target benches
	@for bench in $(BENCHES); do \
	  [ -x $(BUILD)/bench/$$bench ] || { echo "no $$bench here: left out"; continue; }; \
	  $(BUILD)/bench/$$bench --benchmark_out=$(BUILD)/bench/$$bench.json $(BENCH_FLAGS) || exit 1; \
	  echo "Written: $(BUILD)/bench/$$bench.json"; echo; \
	done
	@echo "Two runs beside each other:  $(BUILD)/bench/compare A.json B.json"
	@echo "The roofline:                $(BUILD)/bench/plot $(BUILD)/bench/primitives.json roofline.svg"

PEERS = $(BUILD)/peers-venv
bench-peers:
	@.ci/install-packages $(BUILD_PACKAGES) libbenchmark-dev python3-venv
	$(CONFIGURE) -B $(BUILD) -DSTAGEWISE_TESTS=OFF -DSTAGEWISE_BENCH=ON
	cmake --build $(BUILD) -j $(JOBS) --target peer_worker
	@[ -d $(PEERS) ] || python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet -r bench/peers/requirements.txt
	$(PEERS)/bin/python bench/peers/run.py --build $(BUILD) $(PEERS_FLAGS)

docs: build
	@.ci/install-packages $(DOCS_PACKAGES)
	@docs/site/build $(BUILD)/stagewise $(BUILD)/site

cifar10: $(CIFAR10)/cifar-10-batches-bin/test_batch.bin

$(CIFAR10)/cifar-10-batches-bin/test_batch.bin:
	@mkdir -p $(CIFAR10)
	@command -v curl >/dev/null || .ci/install-packages curl ca-certificates
	@curl --fail --location --progress-bar --output $(CIFAR10)/cifar-10-binary.tar.gz.part $(CIFAR10_URL) || { \
	  rm -f $(CIFAR10)/cifar-10-binary.tar.gz.part; \
	  echo "No way to $(CIFAR10_URL) from here."; \
	  echo "On a machine with internet, fetch that file; copy it to $(CIFAR10)/ here, and run:"; \
	  echo "  tar -xzf $(CIFAR10)/cifar-10-binary.tar.gz -C $(CIFAR10)"; \
	  echo "Then: $(BUILD)/stagewise search --data $(CIFAR10)"; exit 1; }
	@echo "$(CIFAR10_SHA256)  $(CIFAR10)/cifar-10-binary.tar.gz.part" | sha256sum --check --quiet || { \
	  rm -f $(CIFAR10)/cifar-10-binary.tar.gz.part; \
	  echo "The file from $(CIFAR10_URL) is not the official archive (SHA-256 differs); removed."; exit 1; }
	@mv $(CIFAR10)/cifar-10-binary.tar.gz.part $(CIFAR10)/cifar-10-binary.tar.gz
	@tar -xzf $(CIFAR10)/cifar-10-binary.tar.gz -C $(CIFAR10)
	@echo "CIFAR-10 is in $(CIFAR10)/. Now: $(BUILD)/stagewise search --data $(CIFAR10)"

SOURCES = $(shell git ls-files '*.cpp' '*.cu' '*.h')
format:
	@.ci/install-packages clang-format
	@clang-format -i $(SOURCES)

# Formatting, and the floors' arrows.
check:
	@.ci/install-packages clang-format
	@clang-format --dry-run --Werror $(SOURCES)
	@.ci/check-floors

# The same, and clang-tidy over what the compile commands list: minutes.
lint: check
	@.ci/install-packages clang-tidy $(TEST_PACKAGES)
	cmake -S . -B $(BUILD) -DSTAGEWISE_TESTS=ON -DCMAKE_UNITY_BUILD=OFF >/dev/null
	git ls-files '*.cpp' | grep -vE '^(cpu/kernels|bench)/' | \
	  while read -r file; do grep -qF "/$$file\"" $(BUILD)/compile_commands.json && echo "$$file"; done | \
	  xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet

clean:
	rm -rf $(BUILD) $(BUILD)-*
