"""Sphinx extension: mends what a screen reader cannot use in the pages of the theme and of
docutils."""

import re


def mend(app, page, template, context, doctree):
    """Name the arrows that open a list in the contents, and make references items of their list."""
    if contents := context.get("generate_toctree_html"):

        def named(*arguments, **options):
            text = str(contents(*arguments, **options))
            return text.replace("<summary>", '<summary aria-label="pages below this one">')

        context["generate_toctree_html"] = named
    if "body" in context:
        body = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')
        # A table of the prose may be wider than a phone: who has no mouse moves it by the keyboard.
        body = body.replace('<table class="table">', '<table class="table" tabindex="0">')
        # The parameters of a long signature are no list of definitions: they define no term.
        context["body"] = re.sub(r'<dl>(?=\s*<dd><em class="sig-param")', '<dl role="none">', body)


def setup(app):
    """Wait until the theme has added its functions to the page."""
    app.connect("html-page-context", mend, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
