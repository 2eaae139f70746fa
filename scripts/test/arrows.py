# SPDX-License-Identifier: GPL-2.0
#
# Called by arrows, which has the manual, inside the build root:
#
#     arrows.py [--draw | --dot] SOURCE FOREIGN...

import re
import sys
from collections import defaultdict
from pathlib import Path

CRATE = "rust_kmemcg"

# A string, a character or a comment: none of them is code.
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?c?r(#*)".*?"\1|[bc]?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'', re.S)
MOD = re.compile(r"^(?:pub(?:\([^)]*\))? )?mod (\w+);", re.M)
INLINE_MOD = re.compile(r"\bmod \w+ \{")
USE = re.compile(r"\b(pub(?:\([^)]*\))? )?use ([^;]+);")
PATH = re.compile(r"(?<![\w:$])(?:\$?crate|super|self)(?:::\w+)+")
IMPL = re.compile(r"^(?:unsafe )?impl\b", re.M)
FN = re.compile(r"\bfn (\w+)")
STRUCT = re.compile(r"^(?:pub(?:\([^)]*\))? )?struct \w+[^;{(]*\{", re.M)
FIELD = re.compile(r"^ {4}(?:pub(?:\([^)]*\))? )?(\w+): (.*)$", re.M)
TYPE = re.compile(r"^ *(?:pub(?:\([^)]*\))? )?(?:unsafe )?(?:struct|enum|trait|type|union) (\w+)", re.M)
MACRO = re.compile(r"#\[macro_export\]\s*macro_rules! (\w+)")
VISIBLE = re.compile(r"\bpub\(in [^)]*\)")
TRAIT = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:unsafe )?trait (\w+)[^{;]*\{", re.M)
USED_MEMBER = re.compile(r"\.\s*(\w+)(\s*(?:::<[^()]*>)?\()?")
USED_FUNCTION = re.compile(r"\b([A-Z]\w*)(?:::<[^()]*?>)?::(\w+)")


def without_comments(text):
    """The text with everything that is not code blanked out; the lines keep their numbers."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def closing(text, opening):
    """The position after the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] in "{([") - (text[at] in "})]")
        if depth == 0:
            return at + 1
    return len(text)


def skip_generics(text, at):
    """The position after `<...>`, where there is one at `at`."""
    if text[at:at + 1] != "<":
        return at
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "<") - (text[end] == ">" and text[end - 1] != "-")
        if depth == 0:
            return end + 1
    return len(text)


def count_list(text, opening):
    """How many elements the list in the parentheses at `opening` has; that of `|a, b|` counts too."""
    elements = re.sub(r"<[^<>()]*>|->|=>", " ", text[opening + 1:closing(text, opening) - 1])
    count, depth, begun = 0, 0, False
    for letter in elements:
        depth += (letter in "{([<") - (letter in "})]>")
        if letter == "," and depth == 0:
            count, begun = count + begun, False
        elif not letter.isspace():
            begun = True
    return count + begun


def methods(text):
    """The functions with self: ((name, how many more arguments), type of the result)."""
    for match in FN.finditer(text):
        opening = text.find("(", skip_generics(text, match.end()))
        parameters = text[opening + 1:closing(text, opening) - 1]
        if re.match(r"\s*(?:&(?:'\w+ )?)?(?:mut )?self\b", parameters):
            result = re.match(r"\s*-> ([^{;]*)", text[closing(text, opening):])
            yield (match[1], count_list(text, opening) - 1), result[1] if result else ""


def use_paths(tree):
    """The paths of a use declaration, each as (path, name that it gets here)."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = tree.partition(" as ")
        parts = [part.strip() for part in path.split("::")]
        if parts[-1] == "self":
            parts.pop()
        yield parts, alias.strip() or parts[-1]
        return
    depth, piece, pieces = 0, "", []
    for letter in rest.rpartition("}")[0] + ",":
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            pieces.append(piece)
            piece = ""
        else:
            piece += letter
    for piece in filter(str.strip, pieces):
        yield from use_paths(head.strip() + piece.strip())


class File:
    """A file of the crate: what it declares, and what it uses."""

    def __init__(self, source, path):
        self.path = path
        parts = path.with_suffix("").parts
        if parts[-1] in ("mod", CRATE):
            parts = parts[:-1]
        # ("protocol", "gate", "destroyer") for protocol/gate/destroyer.rs.
        self.module = parts
        # Where something is visible is no use of that.
        self.text = VISIBLE.sub(lambda match: "pub" + " " * (len(match[0]) - 3),
                                without_comments((source / path).read_text()))
        self.children = MOD.findall(self.text)
        self.exports = {}
        self.functions = set()
        # Of each: the text of its type.
        self.methods = {}
        self.fields = {}
        self.types = set(TYPE.findall(self.text))
        self.impls = []
        self.inline_mods = [(match.start(), closing(self.text, match.end() - 1))
                            for match in INLINE_MOD.finditer(self.text)]
        self.read_impls()
        for match in TRAIT.finditer(self.text):
            body = self.text[match.end() - 1:closing(self.text, match.end() - 1)]
            self.methods.update(methods(body))
        for match in STRUCT.finditer(self.text):
            self.fields.update(FIELD.findall(self.text[match.end():closing(self.text, match.end() - 1)]))

    def read_impls(self):
        for match in IMPL.finditer(self.text):
            brace = self.text.find("{", match.end())
            head = self.text[skip_generics(self.text, match.end()):brace]
            end = closing(self.text, brace)
            of_trait = re.search(r"\bfor\b(?!\s*<)", head)
            owner = head[of_trait.end():] if of_trait else head
            name = re.match(r"\s*&?\s*(?:\w+::)*(\w+)", owner)
            if not name:
                continue
            self.impls.append((match.start(), end, name[1]))
            if of_trait:
                # What it is called by is the trait's.
                continue
            for function in FN.findall(self.text[brace:end]):
                self.functions.add((name[1], function))
            self.methods.update(methods(self.text[brace:end]))

    def line(self, at):
        return self.text.count("\n", 0, at) + 1

    def owner(self, at):
        """The type whose impl block `at` is in."""
        return next((name for begin, end, name in self.impls if begin <= at < end), None)

    def absolute(self, parts, at):
        """A path as written at `at`, as one from the crate's root; None for a path to elsewhere."""
        here = list(self.module)
        # A module inside of the file is one level below it.
        here += ["(inside)"] * sum(begin <= at < end for begin, end in self.inline_mods)
        first, rest = parts[0], list(parts[1:])
        if first.lstrip("$") == "crate":
            return rest
        if first == "super":
            here.pop()
            while rest[:1] == ["super"]:
                here.pop()
                rest.pop(0)
            return [part for part in here if part != "(inside)"] + rest
        if first == "self" or first in self.children:
            return list(self.module) + (rest if first == "self" else list(parts))
        return None

    def uses(self):
        """What it names by a path: (line, path from the crate's root, is it public, name here)."""
        spans = []
        for match in USE.finditer(self.text):
            spans.append(match.span())
            for parts, name in use_paths(match[2]):
                path = self.absolute(parts, match.start())
                if path:
                    yield self.line(match.start()), path, bool(match[1]), name
        path = PATH
        if self.children:
            path = re.compile(rf"{PATH.pattern}|(?<![\w:.])(?:{'|'.join(self.children)})(?:::\w+)+")
        for match in path.finditer(self.text):
            if not any(begin <= match.start() < end for begin, end in spans):
                path = self.absolute(match[0].split("::"), match.start())
                if path:
                    yield self.line(match.start()), path, False, ""


class Crate:
    def __init__(self, source):
        tops = MOD.findall(without_comments((source / f"{CRATE}.rs").read_text()))
        paths = [source / f"{CRATE}.rs"] + [path for top in tops for path in sorted((source / top).rglob("*.rs"))]
        self.files = [File(source, path.relative_to(source)) for path in paths]
        self.by_module = {}
        for file in self.files:
            self.by_module.setdefault(file.module, file)
        for file in self.files:
            for _, path, public, name in file.uses():
                if public:
                    file.exports[name] = path
            # An exported macro is called as the crate's, wherever it stands.
            for name in MACRO.findall(file.text):
                self.by_module[()].exports[name] = file.module

    def find(self, path, seen=()):
        """The file in which a path ends, through what is exported again."""
        path = tuple(path)
        for length in range(len(path), -1, -1):
            file = self.by_module.get(path[:length])
            if file:
                break
        rest = path[length:]
        if rest and rest[0] in file.exports and path not in seen:
            return self.find([*file.exports[rest[0]], *rest[1:]], (*seen, path))
        return file


class Graph:
    """Nodes, from the bottom to the top, and the arrows between them, each with where it comes from."""

    def __init__(self, title, nodes):
        self.title = title
        self.nodes = nodes
        self.arrows = defaultdict(list)

    def add(self, user, used, place, why):
        if user != used and user in self.nodes and used in self.nodes:
            self.arrows[user, used].append((place, why))

    def reachable(self, start):
        found, left = set(), [start]
        while left:
            node = left.pop()
            for user, used in self.arrows:
                if user == node and used not in found:
                    found.add(used)
                    left.append(used)
        return found

    def circles(self):
        """Sets of nodes each of which reaches the others."""
        reach = {node: self.reachable(node) for node in self.nodes}
        circles = []
        for node in self.nodes:
            circle = [other for other in self.nodes if other in reach[node] and node in reach[other]]
            if circle and circle not in circles:
                circles.append(circle)
        return circles

    def upward(self):
        return [(user, used) for user, used in self.arrows if self.nodes.index(user) < self.nodes.index(used)]

    def faults(self):
        for circle in self.circles():
            yield f"{self.title}: a circle of {len(circle)}: {' '.join(circle)}"
        if self.upward():
            yield f"{self.title}: the order, from the bottom to the top: {' '.join(self.nodes)}"
        for user, used in self.upward():
            (place, why), *more = self.arrows[user, used]
            more = f" (and {len(more)} more)" if more else ""
            yield f"{place}: {user} is below {used} and uses it: {why}{more}"

    def text(self):
        pairs = {frozenset(arrow) for arrow in self.arrows}
        possible = len(self.nodes) * (len(self.nodes) - 1) // 2
        yield f"{self.title}: {len(self.nodes)} nodes, {len(self.arrows)} arrows; {len(pairs)} of {possible} pairs"
        width = max(map(len, self.nodes))
        for node in reversed(self.nodes):
            used = [other + ("^" if self.nodes.index(other) > self.nodes.index(node) else "")
                    for other in reversed(self.nodes) if (node, other) in self.arrows]
            yield f"    {node:<{width}}  {'-> ' if used else ''}{' '.join(used)}"
        for circle in self.circles():
            yield f"    circle of {len(circle)}: {' '.join(circle)}"
        if self.upward():
            yield "    ^: points up"

    def dot(self):
        yield f'digraph "{self.title}" {{'
        yield from (f'    "{node}";' for node in reversed(self.nodes))
        for user, used in self.arrows:
            color = " [color=red]" if (user, used) in self.upward() else ""
            yield f'    "{user}" -> "{used}"{color};'
        yield "}"


def layers(crate):
    """The crate's modules, in the order in which its root lists them, and the root on top."""
    root = crate.by_module[()]
    graph = Graph("layers", [*root.children, "root"])
    for file in crate.files:
        user = file.module[0] if file.module else "root"
        for line, path, _, _ in file.uses():
            used = crate.find(path).module
            graph.add(user, used[0] if used else "root", f"{file.path}:{line}", "::".join(path))
    return graph


def folder(crate, name, foreign):
    """The files of a folder, in the order in which its mod.rs lists them, and mod.rs on top."""
    outside = crate.by_module[name,]
    graph = Graph(f"{name}/", [*outside.children, "mod"])
    files = [file for file in crate.files if file.module[:1] == (name,)]

    def node(module):
        return module[1] if len(module) > 1 else "mod"

    # A member that only one file defines says which file it is; a method that a layer below, or the kernel crate,
    # has too, with as many arguments, does not.
    definitions = defaultdict(dict)
    functions = {}
    types = {}
    for file in files:
        for member, result in (file.methods | file.fields).items():
            definitions[member][node(file.module)] = result
        for function in file.functions:
            functions[function] = node(file.module)
        for a_type in file.types:
            types[a_type] = node(file.module)
    for file in files:
        user = node(file.module)
        for line, path, _, _ in file.uses():
            used = crate.find(path).module
            if used[:1] == (name,):
                graph.add(user, node(used), f"{file.path}:{line}", "::".join(path))
        for match in USED_MEMBER.finditer(file.text):
            place, member, end = f"{file.path}:{file.line(match.start())}", match[1], match.end()
            if match[2]:
                member, end = (match[1], count_list(file.text, end - 1)), closing(file.text, end - 1)
            if len(definitions[member]) != 1 or member in foreign:
                continue
            (owner, result), = definitions[member].items()
            why = f".{match[1]}{'()' if match[2] else ''}"
            graph.add(user, owner, place, why)
            # Through an accessor: what is used of the type that it leads to.
            then = USED_MEMBER.match(file.text, end)
            if then and then[1] != "clone":
                for a_type in re.findall(r"\w+", result):
                    graph.add(user, types.get(a_type), place, f"{why}.{then[1]} of {a_type}")
        for match in USED_FUNCTION.finditer(file.text):
            owner = file.owner(match.start()) if match[1] == "Self" else match[1]
            if (owner, match[2]) in functions:
                graph.add(user, functions[owner, match[2]], f"{file.path}:{file.line(match.start())}",
                          f"{owner}::{match[2]}()")
    return graph


def main(*arguments):
    options = [argument for argument in arguments if argument.startswith("--")]
    source, *foreign_folders = [Path(argument) for argument in arguments if not argument.startswith("--")]
    crate = Crate(source)
    foreign = set()
    for file in [file for folder in foreign_folders for file in folder.rglob("*.rs")]:
        foreign.update(member for member, _ in methods(without_comments(file.read_text())))
    for file in crate.files:
        if file.module[:1] == ("abstractions",):
            foreign.update(member for member, _ in methods(file.text))
    graphs = [layers(crate), folder(crate, "protocol", foreign)]
    found = [fault for graph in graphs for fault in graph.faults()]
    if options:
        for graph in graphs:
            print("\n".join(graph.dot() if "--dot" in options else graph.text()))
    else:
        print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
