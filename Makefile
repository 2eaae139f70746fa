# SPDX-License-Identifier: GPL-2.0
#
# What a person types. The module itself is described in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build

# The kernel for demo, check and shell; scripts/kernel/kernel --list names those to be had.
KERNEL ?= cloud-amd64
VERSION ?= 7.3.4

kernel := --version $(VERSION) --flavour $(KERNEL)

.PHONY: matrix deb modules clean demo check check-all bench report model mutants shell lint doc rust-analyzer upstream help

modules:
	@scripts/build/need-rust $(KDIR)
	@$(MAKE) -C $(KDIR) M=$(CURDIR) modules

clean:
	@rm -rf out doc rust-project.json
	@find . -path ./.git -prune -o \( -name '*.o' -o -name '*.bc' -o -name '*.ko' -o -name '*.mod' -o \
		-name '*.mod.c' -o -name '.*.cmd' -o -name '.*.d' -o -name Module.symvers -o \
		-name modules.order -o -name bindings_generated.rs \) -exec rm -f {} +

demo:
	@scripts/vm/demo $(kernel)

check:
	@scripts/test/check $(kernel) $(foreach suite,$(SUITE),--suite $(suite)) \
		$(foreach test,$(TESTS),--test $(test))

check-all:
	@scripts/test/check-all $(if $(SHORT),--short)

bench:
	@scripts/test/bench $(kernel) $(if $(ONLY),--only "$(ONLY)")

report:
	@scripts/doc/report $(kernel) $(if $(TORTURE_S),--torture $(TORTURE_S)) $(if $(TRACE),--trace $(TRACE))

mutants:
	@scripts/test/mutants --kdir "$$(scripts/kernel/kernel $(kernel))" $(MUTANTS)

model:
	@scripts/model $(if $(QUICK),--quick) $(if $(EXPLAIN),--explain $(EXPLAIN))

lint:
	@scripts/test/lint --kdir "$$(scripts/kernel/kernel $(kernel))" $(if $(FIX),--fix)

doc:
	@scripts/doc/doc --kdir "$$(scripts/kernel/kernel $(kernel))" $(if $(PRIVATE),--private)

rust-analyzer:
	@scripts/build/rust-analyzer --kdir "$$(scripts/kernel/kernel $(kernel))"

matrix:
	@scripts/test/matrix

deb:
	@scripts/package/deb

upstream:
	@scripts/package/upstream --version $(VERSION) | scripts/test/ktap

shell:
	@scripts/vm/shell $(kernel)

define help_text
make            build rust_kmemcg.ko for the running kernel, or for KDIR=<build folder>
make demo       the whole life of a cache, in a stock kernel in a virtual machine
make check      the tests, in the same machine (SUITE="<suite> ...", TESTS="<file> ...")
make check-all  all suites on all kernels, hostile ones too, and the mutants (SHORT=1: as CI does)
make bench      what it costs, in instructions, against its targets (ONLY="<measurement>")
make report     what happened in a run, as a page to look at (TORTURE_S=<seconds>, TRACE=<file>)
make mutants    bring known bugs back, and see that a test fails (MUTANTS="<name> ...")
make model      search a model of the protocol to the end (QUICK=1: its small instances;
                EXPLAIN=<mutant>: what a step is for, as a chart)
make shell      that machine with the module loaded, and a shell
make lint       rustfmt, clippy, shellcheck, checkpatch, and our own rules (FIX=1 formats)
make doc        the documentation of the code, in doc/ (PRIVATE=1: of what is private, too)
make rust-analyzer  rust-project.json, from which an editor knows the crate
make deb        a Debian package, by which DKMS builds the module for stock kernels
make matrix     every series of Rust-enabled kernels that Debian has: does it build, load, pass?
make upstream   the abstractions as patches for the kernel tree, in out/upstream, tried there
make clean      remove what "make" left here

VERSION=7.3.4 and KERNEL=cloud-amd64 choose the kernel: amd64, rt, debug, uml; scripts/kernel/kernel --list
tells what each is, scripts/stock-kernel --list which versions there are. What is downloaded and
built is kept in $$KMEMCG_CACHE, by default ~/.cache/rust-kmemcg; it may be deleted at any time.
endef
export help_text

help:
	@printf '%s\n' "$$help_text"
