#!/usr/bin/env python3
"""Doxygen's INPUT_FILTER: makes Doxygen's comments of the headers' ordinary ones, so that headers read as plain C.

    /* ... */ at the top of a file      describes the file
    /* ---- title ---- */               describes what has no comment of its own below it
    /* ... */ before a declaration      describes it, and the declarations right below it
    declaration; /* ... */              describes it
    #include "hone/x.def"               becomes the list's entries, each with the text in it

Members without a comment count as described by their structure, handles and hone_x_opts by what they are. The text is plain: what
Doxygen would take for a command, HTML or a link is escaped. A line stays on its line, so that warnings point to it.
"""
import pathlib
import re
import sys

NEWLINE = "\x00"  # one within a comment, while the file is taken line by line
path = pathlib.Path(sys.argv[1])


def plain(comment):
    text = re.sub(NEWLINE + r"[ *]*", "\n", comment).strip()
    return re.sub(r'([\\@<>&#%$"|])', r"\\\1", text)


def before(*comments):
    return "/** " + " ".join(plain(c).replace("\n", " ") for c in comments) + " */ "


def behind(comment):
    return " /**< " + plain(comment).replace("\n", " ") + " */"


def enumerators(name):
    for label, rest in re.findall(r"^HONE_\w+\((\w+), (.*)\)", (path.parent / name).read_text(), re.M):
        if name == "dtype.def":
            text, block, size = (part.strip(' "') for part in rest.split(",")[:3])
            rest = f"{text}: {size} bytes" + (f" for {block} elements" if block != "1" else "")
        yield f"HONE_{label},{behind(rest.strip(chr(34)))}"


def rewrite(source):
    source = re.sub(r"/\*.*?\*/", lambda m: m[0].replace("\n", NEWLINE), source, flags=re.S)
    title = above = ""  # the section's, and the comment above
    right_above = False # not shared with a declaration in between
    body = ""           # "struct" or "enum" between its braces
    macro = None        # whether the lines of the macro that goes on are kept
    for line in source.split("\n"):
        tail = "\n" * line.count(NEWLINE)
        more = line.endswith("\\")
        if macro is not None:
            yield line if macro else ""
            macro = macro if more else None
        elif found := re.fullmatch(r"\s*/\*(.*)\*/\s*", line):
            if section := re.fullmatch(r"\s*-{3,}\s*(.*?)\s*-*\s*", found[1]):
                title, above = section[1], ""
            elif not title and not above and source.startswith(line):
                yield f"/** @file {path.name} @details {plain(found[1])} */"
                continue
            else:
                above, right_above = found[1], True
            yield tail
        elif found := re.match(r'\s*#\s*include "hone/(\w+\.def)"', line):
            yield " ".join(enumerators(found[1]))
        elif re.match(r"\s*#\s*(?!define)", line):
            yield "" if "#undef" in line else line
        elif re.match(r"\s*#\s*define (HONE_API|HONE_PRINTF|HONE_\w+_H)\b", line) or (body and "#define" in line):
            yield ""  # guards, attributes, and the macros of lists: nobody reads about them
            macro = False if more else None
        elif not line.strip():
            above = above if body else ""
            yield line
        elif re.match(r"extern|\{?\s*\}|\s*[{}]", line):
            body = "" if line.startswith("}") else body
            yield line
        else:
            found = re.fullmatch(r"(.*?\S)\s*/\*(.*)\*/", line)
            code, own = (found[1], found[2]) if found else (line, "")
            options = re.match(r"typedef struct (hone_\w+)_opts \{", code)
            if body:
                text = own or above or ("set by the macro" if "struct_size" in code else "as described above")
                several = re.fullmatch(r"(\s*[\w ]*\w )(\**\w+(?:, \**\w+)+);", code)
                if several:  # a comment each
                    yield "".join(f"{several[1]}{name};{behind(text)}" for name in several[2].split(", ")) + tail
                else:
                    yield code + (behind(text) if re.search(r"[;,]$|^\s*HONE_\w+", code) else "") + tail
                above = ""
            elif line[0].isspace():  # a declaration that goes on
                yield code
            else:
                text = [t for t in (above if right_above or not own else "", own) if t] or [title]
                if options and not above:
                    text = [f"The optional arguments of {options[1]} or {options[1]}_new."]
                elif not any(text) and re.fullmatch(r"typedef struct (\w+) \1;", code):
                    text = ["A handle; what is behind it is the library's own."]
                yield (before(*text) if any(text) else "") + code + tail
                right_above = False
                if re.search(r"\{$", code):
                    body, above = "enum" if "enum" in code else "struct", ""
                if more:
                    macro = True


print("\n".join(rewrite(path.read_text())))
