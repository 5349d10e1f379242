# Sourced by the other scripts: goes to the root of the clone, and makes and activates .venv.
# Usage: source scripts/setup.sh [EXTRA], where EXTRA is an extra of pyproject.toml (dev).
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra="${1:-}"

python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: Python 3.11 or newer is needed, '$python' is not: set PYTHON to one that is" >&2
    exit 2
fi

# What headless rendering and OpenCV load from the system, and the Debian packages that hold it.
missing=()
libraries="$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null || true)"
while read -r library package; do
    [[ "$libraries" == *"$library"* ]] || missing+=("$package")
done <<'LIBRARIES'
libEGL.so.1 libegl1
libEGL_mesa.so.0 libegl-mesa0
libGL.so.1 libgl1
libglib-2.0.so.0 libglib2.0-0
LIBRARIES
if ((${#missing[@]})) && [[ "$(uname)" == Linux && -z "${HER_SKIP_SYSTEM_CHECK:-}" ]]; then
    echo "error: headless rendering needs packages that are missing. On Debian or Ubuntu:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    echo "On another system install what holds these, and set HER_SKIP_SYSTEM_CHECK=1." >&2
    exit 2
fi

[[ -x .venv/bin/python ]] || "$python" -m venv .venv
# Installed again only when what is to be installed has changed.
stamp=".venv/installed-${extra:-base}"
wanted="$(cat pyproject.toml constraints.txt | cksum)"
if [[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]]; then
    echo "installing into .venv" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable ".${extra:+[$extra]}"
    echo "$wanted" >"$stamp"
fi
source .venv/bin/activate
