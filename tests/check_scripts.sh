#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The shell scripts pass shellcheck.
set -eu
cd "${FLOWQ_SRCDIR:?}"
if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not installed"
    exit 77
fi
shellcheck bootstrap .ci/run .ci/matrix examples/*.sh tests/*.sh tests/system/*.sh
