"""Sphinx extension: puts the files of networks that answer clicks in a page beside the pages that
name them.

`medsam_utils.book.explorer.in_page` writes them where the pages are executed, and the runtime where
npm could be had: without it no page offers to answer.
"""

import re
import shutil
from pathlib import Path

FOLDER = "book/pages/in_page"
FILE = re.compile(r'"([0-9a-f]{16}\.js)"')
OWN = 'id="medsam-own"'  # where the page on which a reader opens an own image has its place for it


def announce(app, name, template, context, doctree):
    """Tell a page that names files where they will be, if all of them are there."""
    source, body = Path(app.srcdir, FOLDER), context.get("body", "")
    named = {source / file for file in FILE.findall(body)}
    runtime, own = source / "runtime.js", source / "own_image.js"
    if OWN in body:
        text = own.read_text("utf-8") if own.is_file() else ""
        named = {own, *(source / file for file in FILE.findall(text))}
    if named and all(path.is_file() for path in (runtime, *named)):
        root = context["pathto"]("_static/in_page/", resource=True)
        start = f'window.medsamInPage={{root:"{root}",bytes:{runtime.stat().st_size}}};'
        if OWN in body:
            start += (
                'document.head.append(Object.assign(document.createElement("script"),'
                f'{{src:"{root}{own.name}"}}))'
            )
        app.add_js_file(None, body=start)
        app.in_page_files |= {runtime, *named}


def copy(app, error):
    """Copy the files that the pages name, and no others."""
    target = Path(app.outdir, "_static", "in_page")
    shutil.rmtree(target, ignore_errors=True)
    if app.in_page_files:
        target.mkdir(parents=True)
    for path in app.in_page_files:
        shutil.copy(path, target)


def setup(app):
    """Copying waits until all pages are written."""
    app.in_page_files = set()
    app.connect("html-page-context", announce)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
