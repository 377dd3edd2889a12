"""How the documentation is built: `make docs`.

The source folder is the repository, so that a link means the same here and on the page of the repository.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

from blocks import VERSION  # noqa: E402

project = "neurospin"
copyright = "the neurospin developers, Apache-2.0"
version = release = VERSION

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "blocks",
    "mathml",
    "reference",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "docs/api/*.rst",
    "experiments/**.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "dist", "runs", "shared", "tests", "neurospin", "hardware_targets", "docs/_build"]

myst_enable_extensions = ["dollarmath", "fieldlist"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"

html_theme = "furo"
html_title = "neurospin"
html_static_path = ["static"]
html_extra_path = ["extra"]
html_css_files = ["neurospin.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}
copybutton_exclude = ".linenos, .output"
# tables that experiments write have many first headings, and are linked instead of listed at the side
# a name of an attribute that two configurations have, too, is no reference to either
suppress_warnings = ["myst.header", "toc.not_included", "ref.python"]

# of make links; a slow server is told apart from an address that is gone
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_report_timeouts_as_broken = False
