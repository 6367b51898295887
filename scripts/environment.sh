# Sourced by the other scripts: makes .venv with the package and the extra named in $1.
# Sets nothing but PATH. Python is chosen by PYTHON (default python3).

environment() {
    extra=$1
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
        echo "Python 3.11 to 3.13 is needed; $python is $("$python" --version 2>&1)." \
            "Set PYTHON to another one." >&2
        exit 1
    fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    PATH=$PWD/.venv/bin:$PATH
    mark=.venv/installed-$extra
    if [ ! -f "$mark" ] || [ pyproject.toml -nt "$mark" ]; then
        echo "Installing qfa_tf[$extra] into .venv (some minutes the first time)"
        python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
        touch "$mark"
    fi
}
