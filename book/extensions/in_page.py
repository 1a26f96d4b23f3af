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


def announce(app, name, template, context, doctree):
    """Tell a page that names files where they will be, if all of them are there."""
    source = Path(app.srcdir, FOLDER)
    named = {source / file for file in FILE.findall(context.get("body", ""))}
    runtime = source / "runtime.js"
    if named and all(path.is_file() for path in (runtime, *named)):
        root = context["pathto"]("_static/in_page/", resource=True)
        app.add_js_file(
            None, body=f'window.medsamInPage={{root:"{root}",bytes:{runtime.stat().st_size}}}'
        )
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
