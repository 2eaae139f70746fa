# SPDX-License-Identifier: GPL-2.0
#
# How a crate root becomes an object: as kbuild does it, but with the C helpers
# inlined, those of the kernel crate as well, where clang speaks the LLVM of
# rustc. CONFIG_RUST_INLINE_HELPERS does the same, but needs a kernel built by
# clang; here only the bitcode is of one LLVM.
#
# To be included after bindgen.mk by a Kbuild that has set
#
#   kmemcg-module    the name of the module; its crate root is $(kmemcg-module).rs
#   kmemcg-helpers   the objects of the helpers, which are linked if nothing is inlined
#
# KMEMCG_INLINE=n disables it.

kmemcg-crate := $(obj)/$(kmemcg-module)_rs.o
targets += $(kmemcg-module)_rs.o

kmemcg-llvm := $(CONFIG_RUSTC_LLVM_MAJOR_VERSION)

# A sanitizer must instrument all of the code, or none.
ifeq ($(KMEMCG_INLINE)$(CONFIG_UML)$(CONFIG_KASAN)$(CONFIG_KCSAN)$(CONFIG_KMSAN)$(CONFIG_CFI)$(CONFIG_LTO_CLANG)$(CONFIG_GCOV_KERNEL),)
ifeq ($(CONFIG_X86_64)$(CONFIG_RUST_INLINE_HELPERS),y)
kmemcg-clang := $(shell command -v clang-$(kmemcg-llvm))
kmemcg-llvm-link := $(shell command -v llvm-link-$(kmemcg-llvm))
endif
endif

ifneq ($(and $(kmemcg-clang),$(kmemcg-llvm-link)),)

# The flags of gcc that clang has too, as for bindgen; the equivalents of those
# that clang spells in another way; none that do not apply to Rust code.
kmemcg-flags-kept := -mfunction-return=% -mindirect-branch-cs-prefix
kmemcg-clang-flags = \
	$(filter-out $(filter-out $(kmemcg-flags-kept),$(bindgen-skip-flags)) \
		-pg -mfentry -fsanitize=% -fstack-protector% -W%,$(1)) \
	$(if $(CONFIG_MITIGATION_RETPOLINE),-mretpoline-external-thunk) \
	-O2 -fno-stack-protector -Wno-everything

kmemcg-kernel-helpers := $(if $(wildcard $(srctree)/rust/helpers/helpers.c),-I$(srctree)/rust)

# kconfig.h is included first, so its correction must follow directly.
kmemcg-clang-config = $(patsubst %/kconfig.h,%/kconfig.h \
		-include $(kmemcg-top)/include/clang-config.h,$(1))

quiet_cmd_kmemcg_bitcode = BITCODE $(quiet_modtag) $@
      cmd_kmemcg_bitcode = \
	$(kmemcg-clang) $(call kmemcg-clang-flags,$(call kmemcg-clang-config,$(c_flags))) -DMODULE \
		-Wp,-MMD,$(depfile) $(kmemcg-kernel-helpers) \
		-emit-llvm -c $(kmemcg-top)/abstractions/inline.c -o $@

$(obj)/helpers.bc: $(kmemcg-top)/abstractions/inline.c FORCE
	$(call if_changed_dep,kmemcg_bitcode)

targets += helpers.bc
clean-files += *.bc

quiet_cmd_kmemcg_rustc = $(RUSTC_OR_CLIPPY_QUIET) $(quiet_modtag) $@
      cmd_kmemcg_rustc = \
	$(rust_common_cmd) --emit=llvm-bc=$(@:.o=.bc) $<; \
	$(kmemcg-llvm-link) --internalize --suppress-warnings \
		$(@:.o=.bc) $(obj)/helpers.bc -o $(@:.o=.linked.bc); \
	$(kmemcg-clang) $(call kmemcg-clang-flags,$(KBUILD_CFLAGS) $(KBUILD_CFLAGS_MODULE)) \
		-mllvm -trap-unreachable -mllvm -no-trap-after-noreturn \
		-c $(@:.o=.linked.bc) -o $@ \
	$(cmd_objtool)

define rule_kmemcg_rustc
	$(call cmd_and_fixdep,kmemcg_rustc)
	$(call cmd,gen_objtooldep)
endef

$(kmemcg-crate): $(obj)/helpers.bc
$(kmemcg-crate): $(src)/$(kmemcg-module).rs $(kmemcg-bindings) FORCE
	+$(call if_changed_rule,kmemcg_rustc)

else

$(kmemcg-module)-y += $(kmemcg-helpers)

$(kmemcg-crate): $(src)/$(kmemcg-module).rs $(kmemcg-bindings) FORCE
	+$(call if_changed_rule,rustc_o_rs)

endif
