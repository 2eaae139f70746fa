# SPDX-License-Identifier: GPL-2.0
#
# Called by lint: prints each public function whose documentation says "Context: may sleep" and that does not check
# it. One that usually returns at once hides its misuse, unless it calls might_sleep() always: itself, or by
#
#     Type::name(…), Self::name(…), self.name(…)   another such function
#     self.field.name(…)                           the same, where this is all that it does
#     rcu_barrier(), synchronize_rcu(), GFP_KERNEL
#
# The same holds for the drop of a type whose documentation says "Context of the drop: may sleep": its Drop or
# PinnedDrop checks it, or that of a field does. A public type whose drop checks it must say so.
FNR == 1 { doc = ""; at = 0; of = 0 }
# The fields of a type.
of && /^[})]/ { of = 0; next }
of { if (!/^ *(\/\/|#\[)/) fields[of] = fields[of] $0 "\n"; next }
/^(pub(\([a-z: ]+\))? )?struct / {
    of = ++types
    public_type[of] = /^pub/
    name = $0
    sub(/.*struct /, "", name)
    fields[of] = name
    sub(/[^A-Za-z0-9_].*/, "", name)
    sub(/^[A-Za-z0-9_]*/, "", fields[of])
    fields[of] = fields[of] "\n"
    type_at[of] = FILENAME ":" FNR ": the drop of " name
    struct[of] = name
    file_of[of] = FILENAME
    says[of] = doc ~ /Context of the drop:/
    sleeps[of] = doc ~ /Context of the drop: may sleep/
    documented += sleeps[of]
    doc = ""
    if (/;$/) of = 0
    next
}
/^impl/ {
    is_drop = / (Pinned)?Drop for /
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
    } else if (is_drop && indent && name == "drop") {
        at = ++n
        own[n] = type
        bare[n] = "drop"
        drops[n] = FILENAME
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
# Is the value of a field one of another type whose drop checks it?
function owns(t, field, k, m, u) {
    m = split(fields[t], field, /, |\n/)
    for (k = 1; k <= m; k++) {
        sub(/^((<[^(]*>)?\(| +)/, "", field[k])
        while (sub(/^(pub(\([a-z: ]+\))? |[a-z_]+: |(Option|Pin|KBox|KVec)<|\[)/, "", field[k])) ;
        sub(/[^A-Za-z0-9_].*/, "", field[k])
        for (u = 1; u <= types; u++) if (u != t && checks[u] && field[k] == struct[u]) return 1
    }
    return 0
}
END {
    for (i = 1; i <= n; i++) {
        while (sub(/::<[^<>]*>/, "", body[i])) ;
        ok[i] = body[i] ~ /(^|[^a-z_])(might_sleep|rcu_barrier|synchronize_rcu)\(|GFP_KERNEL/
    }
    do {
        changed = 0
        for (i = 1; i <= n; i++)
            for (j = 1; !ok[i] && j <= n; j++)
                if (ok[j] && i != j && !drops[j] &&
                    (calls(body[i], own[j] "::" bare[j]) || (own[i] == own[j] && (calls(body[i], "Self::" bare[j]) ||
                    calls(body[i], "self." bare[j]))) || (lines[i] == 1 && calls(body[i], "." bare[j]))))
                    ok[i] = changed = 1
    } while (changed)
    for (i = 1; i <= n; i++) if (public[i] && !ok[i]) { print where[i]; found = 1 }
    for (t = 1; t <= types; t++)
        for (i = 1; i <= n; i++)
            if (drops[i] == file_of[t] && own[i] == struct[t] && ok[i]) checks[t] = 1
    do {
        changed = 0
        for (t = 1; t <= types; t++) if (!checks[t] && owns(t)) checks[t] = changed = 1
    } while (changed)
    for (t = 1; t <= types; t++) {
        if (sleeps[t] && !checks[t]) { print type_at[t]; found = 1 }
        if (public_type[t] && checks[t] && !says[t]) { print type_at[t] " is not documented"; found = 1 }
    }
    if (documented < 6) { print "only " documented " types whose drop may sleep"; found = 1 }
    if (n < 30) { print "only " n " functions that may sleep"; found = 1 }
    exit found
}
