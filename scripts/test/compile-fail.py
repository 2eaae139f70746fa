# SPDX-License-Identifier: GPL-2.0
#
# Called by compile-fail, which has the manual, inside the build root:
#
#     compile-fail.py SOURCE CRATE [--verbose] [NAME]...

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ANNOTATION = re.compile(r"//~(\^*|[v?]) ERROR (\S+) (.*\S)")
DIRECTIVE = re.compile(r"^//@ (\w+)(?:: (\S+))?$", re.M)


def fail(text):
    print("compile-fail:", text, file=sys.stderr)
    sys.exit(2)


class Program:
    def __init__(self, path):
        text = path.read_text()
        self.path = path
        self.name = path.stem
        self.directives = dict(DIRECTIVE.findall(text))
        # (line or None, code, text)
        self.expected = []
        for number, line in enumerate(text.splitlines(), 1):
            for where, code, piece in ANNOTATION.findall(line):
                line_number = {"?": None, "v": number + 1}.get(where, number - where.count("^"))
                self.expected.append((line_number, code, piece))

    def faults_of_form(self):
        text = self.path.read_text()
        if not text.startswith("// SPDX-License-Identifier: GPL-2.0\n\n//! "):
            yield "it does not begin with the licence and the reason why it must not compile"
        if not self.expected:
            yield "it announces no error"
        if "fixed" not in text:
            yield "it has no corrected form"
        for key in self.directives.keys() - {"inside", "codegen"}:
            yield f"there is no directive {key}"


class Compiler:
    def __init__(self, source, crate):
        self.source = source
        self.flags = [f"@{crate}/flags", "--cap-lints=allow", "--error-format=json"]
        self.externs = ["-L", str(crate), "--extern", "rust_kmemcg"]
        self.scratch = crate / "compile-fail"
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    def plant(self, programs):
        """Copies the crate, with the programs that are to be inside as modules of it."""
        copy = self.scratch / "inside"
        self.planted = [program for program in programs if "inside" in program.directives]
        for file in [self.source / "rust_kmemcg.rs", *self.source.glob("*/**/*.rs")]:
            relative = file.relative_to(self.source)
            if relative.parts[0] == "selftests":
                continue
            (copy / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / relative)
        for program in self.planted:
            host = program.directives["inside"]
            if not (copy / host).is_file():
                fail(f"{program.path}: the crate has no {host}")
            with open(copy / host, "a") as file:
                file.write(f'\n#[cfg(any(fixed, planted = "{program.name}"))]\n')
                file.write(f'#[path = "{program.path}"]\n')
                file.write(f"mod {program.name.replace('-', '_')};\n")
        # The crate is slow to compile: compile all corrected programs together.
        self.fixed = []
        if self.planted:
            self.fixed = self.compile("inside-fixed", "--cfg", "fixed", *self.crate_root())

    def errors(self, program):
        """The errors of a program, as the compiler's own records; None where it died."""
        if program in self.planted:
            cfg = ["--cfg", f'planted="{program.name}"']
            return self.compile(program.name, *cfg, *self.crate_root())
        return self.compile(program.name, *self.alone(program))

    def errors_when_fixed(self, program):
        """The same of the corrected program."""
        if program not in self.planted:
            return self.compile(program.name + "-fixed", "--cfg", "fixed", *self.alone(program))
        if self.fixed is None:
            return None
        others = [other.path for other in self.planted if other is not program]
        return [error for error in self.fixed
                if not any(any(lines_of(error, other)) for other in others)]

    def alone(self, program):
        emit = "obj" if "codegen" in program.directives else "metadata"
        return f"--emit={emit}", "--crate-name", "program", *self.externs, str(program.path)

    def crate_root(self):
        root = str(self.scratch / "inside" / "rust_kmemcg.rs")
        return "--emit=metadata", "--crate-name", "rust_kmemcg", root

    def compile(self, name, *what):
        out = self.scratch / name
        out.mkdir()
        run = subprocess.run(
            ["rustc", *self.flags, "--out-dir", str(out), *what],
            stderr=subprocess.PIPE, text=True, check=False)
        shutil.rmtree(out)
        records = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
        errors = [record for record in records if record.get("level", "").startswith("error")
                  and not record["message"].startswith("aborting due to")]
        if run.returncode != 0 and not errors:
            return None
        return errors


def words_of(error):
    """All that an error says."""
    for part in [error, *error["children"]]:
        yield part["message"]
        for span in part["spans"]:
            yield span["label"] or ""
            yield span["suggested_replacement"] or ""


def lines_of(error, file):
    """The lines of the file that an error is reported for, also by way of a macro."""
    for span in error["spans"]:
        while span["is_primary"]:
            if span["file_name"] == str(file):
                yield span["line_start"]
            if not span["expansion"]:
                break
            span = span["expansion"]["span"] | {"is_primary": True}


def matches(expected, error, file):
    line, code, piece = expected
    actual = (error["code"] or {"code": "-"})["code"]
    return (code == actual and any(piece in words for words in words_of(error))
            and (line is None or line in lines_of(error, file)))


def faults(program, compiler):
    """What is wrong with a program, a line each; and what the compiler said."""
    found = list(program.faults_of_form())
    errors = compiler.errors(program)
    fixed = compiler.errors_when_fixed(program)
    if errors is None or fixed is None:
        return found + ["the compiler died"], ""
    said = "".join(error["rendered"] for error in errors)
    if not errors:
        found.append("it compiles")
    left = list(errors)
    for expected in program.expected:
        error = next((e for e in left if matches(expected, e, program.path)), None)
        if error:
            left.remove(error)
        elif errors:
            found.append("announced and not reported: {}: {} {}".format(*expected))
    found += ["reported and not announced:\n" + error["rendered"] for error in left]
    found += ["the corrected form does not compile:\n" + error["rendered"] for error in fixed]
    return found, said


def main(source, crate, *arguments):
    source, crate = Path(source), Path(crate)
    names = [argument for argument in arguments if argument != "--verbose"]
    files = sorted((source / "selftests" / "compile-fail").glob("*.rs"))
    programs = [Program(file) for file in files if not names or file.stem in names]
    if len(programs) < max(1, len(names)):
        fail("there is no such program")
    compiler = Compiler(source, crate)
    compiler.plant(programs)
    failed = 0
    print("TAP version 13\n1..1\n# selftests: rust_kmemcg: programs that must not compile")
    print(f"# 1..{len(programs)}", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda program: faults(program, compiler), programs)
        for number, (program, (found, said)) in enumerate(zip(programs, results), 1):
            remarks = found + ([said] if "--verbose" in arguments else [])
            for line in "\n".join(remarks).splitlines():
                print("# #", line)
            print("#", "not ok" if found else "ok", number, program.name, flush=True)
            failed += bool(found)
    print("not ok" if failed else "ok", "1 selftests: rust_kmemcg: programs that must not compile")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
