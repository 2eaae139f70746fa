# SPDX-License-Identifier: GPL-2.0
#
# Called by lint: prints each public function whose documentation says "Context: may sleep" and that does not check
# it. One that usually returns at once hides its misuse, unless it calls might_sleep() always: itself, or by
#
#     Type::name(…), Self::name(…), self.name(…)   another such function
#     self.field.name(…)                           the same, where this is all that it does
#     rcu_barrier(), synchronize_rcu(), GFP_KERNEL
FNR == 1 { doc = ""; at = 0 }
/^impl/ {
    type = $0
    sub(/ *(where.*)?\{?$/, "", type)
    sub(/.* for /, "", type)
    while (sub(/<[^<>]*>/, "", type)) ;
    sub(/^impl */, "", type)
}
/^ *\/\/\// { sub(/^ *\/\/\/ ?/, ""); doc = doc " " $0; next }
!at && /^ *#\[/ { next }
!at && /^ *(pub(\([a-z: ]+\))? )?(const )?(unsafe )?fn / {
    match($0, /^ */)
    indent = RLENGTH
    name = $0
    sub(/.*fn /, "", name)
    sub(/[^a-z0-9_].*/, "", name)
    at = -1
    if (doc ~ /Context: may sleep/) {
        at = ++n
        where[n] = FILENAME ":" FNR ": " name
        public[n] = /^ *pub/
        own[n] = indent ? type : ""
        bare[n] = name
        began = 0
    }
    doc = ""
    if (/;$/) at = 0
    else if (/\{$/) began = 1
    next
}
at {
    match($0, /^ */)
    if (RLENGTH == indent && /^ *}$/) at = 0
    else if (at > 0 && began) { if (!/^ *\/\//) { body[at] = body[at] $0 "\n"; lines[at]++ } }
    else if (/\{$/) began = 1
    next
}
{ doc = "" }
function calls(text, what) { return index(text, what "(") > 0 }
END {
    for (i = 1; i <= n; i++) {
        while (sub(/::<[^<>]*>/, "", body[i])) ;
        ok[i] = body[i] ~ /(^|[^a-z_])(might_sleep|rcu_barrier|synchronize_rcu)\(|GFP_KERNEL/
    }
    do {
        changed = 0
        for (i = 1; i <= n; i++)
            for (j = 1; !ok[i] && j <= n; j++)
                if (ok[j] && i != j &&
                    (calls(body[i], own[j] "::" bare[j]) || (own[i] == own[j] && (calls(body[i], "Self::" bare[j]) ||
                    calls(body[i], "self." bare[j]))) || (lines[i] == 1 && calls(body[i], "." bare[j]))))
                    ok[i] = changed = 1
    } while (changed)
    for (i = 1; i <= n; i++) if (public[i] && !ok[i]) { print where[i]; found = 1 }
    if (n < 30) { print "only " n " functions that may sleep"; found = 1 }
    exit found
}
