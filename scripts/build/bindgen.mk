# SPDX-License-Identifier: GPL-2.0
#
# Rust declarations of include/helpers.h, made the way that the kernel makes
# those of its own helpers. To be included by a Kbuild that has set
#
#   kmemcg-top    the folder of this repository, as seen from there
#
# Sets kmemcg-bindings: the object of the crate root must depend on it.

kmemcg-bindings := $(obj)/bindings_generated.rs
export RUST_KMEMCG_BINDINGS := $(abspath $(kmemcg-bindings))

ccflags-y += -I$(kmemcg-top)/include

# Flags of gcc that libclang does not know (the list of rust/Makefile).
bindgen-skip-flags := -mno-fp-ret-in-387 -mpreferred-stack-boundary=% \
	-mskip-rax-setup -mgeneral-regs-only -mindirect-branch=% \
	-mindirect-branch-register -mfunction-return=% -mrecord-mcount \
	-mindirect-branch-cs-prefix -mstack-protector-guard% \
	-fconserve-stack -falign-jumps=% -falign-loops=% \
	-femit-struct-debug-baseonly -fno-ipa-cp-clone -fno-ipa-sra \
	-fno-partial-inlining -fno-reorder-blocks -fno-allow-store-data-races \
	-fzero-call-used-regs=% -fno-stack-clash-protection \
	-fno-inline-functions-called-once -fsanitize=bounds-strict \
	-fstrict-flex-arrays=% -fmin-function-alignment=% \
	-fzero-init-padding-bits=% -fdiagnostics-show-context% \
	--param=% --param asan-% -fno-isolate-erroneous-paths-dereference

quiet_cmd_kmemcg_bindgen = BINDGEN $(quiet_modtag) $@
      cmd_kmemcg_bindgen = \
	$(BINDGEN) $< --use-core --ctypes-prefix ffi --no-layout-tests \
		--no-debug '.*' --enable-function-attribute-detection \
		--blocklist-type '.*' --allowlist-var '__tracepoint_.*' \
		--allowlist-function 'rust_kmemcg_.*' -o $@ -- \
		$(if $(CONFIG_CC_IS_CLANG),$(c_flags),$(filter-out $(bindgen-skip-flags),$(c_flags))) \
		-fno-builtin -D__BINDGEN__ -DMODULE -Wno-everything

$(kmemcg-bindings): $(kmemcg-top)/include/helpers.h FORCE
	$(call if_changed_dep,kmemcg_bindgen)

# Declared here for if_changed: remake when the command changes.
targets += bindings_generated.rs

clean-files += bindings_generated.rs
