"""Sphinx extension: keeps every page of the book free of requests to other machines."""


def drop_remote_scripts(app, pagename, templatename, context, doctree):
    """Leave out sphinx-thebe's scripts, which Jupyter Book always adds and which log an error unused."""
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if not _unwanted(file)]


def _unwanted(file) -> bool:
    name = str(getattr(file, "filename", file) or "")
    return name.startswith("http") or "thebe" in name


def setup(app):
    """Register late, when all other extensions have added their files."""
    app.connect("html-page-context", drop_remote_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
