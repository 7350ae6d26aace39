#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# .ci/commit-msg takes the messages it should and no others; and those of the commits of this branch that FLOWQ_BASE has not (default:
# what the branch follows, or the default branch where the tree was cloned from) are as it wants them.
set -eu
src=${FLOWQ_SRCDIR:?}
if ! command -v bash >/dev/null; then
    echo "bash is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# judged WANTED WHAT: the message on standard input.
judged() {
    cat >"$work/message"
    got=taken
    bash "$src/.ci/commit-msg" "$work/message" 2>"$work/said" || got=refused
    [ $got = "$1" ] || { echo "FAILED: $2 was $got"; cat "$work/message" "$work/said"; failed=1; }
}

title72="table: seventy-two characters of title, which is as long as it may be   ."
title72=$(printf '%.72s' "$title72" | tr ' ' '-')
judged taken "a title, a blank line, a body" <<END
$title72

Because of this.
END
judged taken "characters of several bytes" <<END
$(printf '%.71s' "$title72")ä

Because of this.
END
judged refused "a title of 73 characters" <<END
${title72}x

Because of this.
END
judged refused "a title that ends with a full stop" <<END
It was mended.

Because of this.
END
judged refused "no body" <<END
It was mended
END
judged refused "a body of a signature" <<END
It was mended

Signed-off-by: A <a@example.org>
END
judged refused "a body of comments" <<END
It was mended

# Please enter the commit message
END
judged refused "what git shows behind the scissors as a body" <<END
It was mended
# ------------------------ >8 ------------------------
diff --git a/a b/a

more
END
judged refused "no blank line" <<END
It was mended
because of this

And that.
END
judged refused "nothing" </dev/null
long="words words words words words words words words words words words words words words words words"
judged refused "a line of the body that is too long" <<END
It was mended

$long
END
judged taken "long lines that cannot be broken" <<END
It was mended

    $long
$(echo "https://example.org/$long" | tr ' ' -)
END
judged taken "what is for another commit" <<END
fixup! It was mended
END

if [ ! -e "$src/.git" ] || ! git -C "$src" -c safe.directory="$src" rev-parse HEAD >/dev/null 2>&1; then
    echo "no git: the messages of commits were not looked at, but what looks at them was tried"
    [ $failed = 0 ] && exit 77
    exit 1
fi
cd "$src"
GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$src
export GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0
base=${FLOWQ_BASE-}
for name in '@{upstream}' origin/HEAD origin/main origin/master; do
    [ -n "$base" ] || ! git rev-parse --verify --quiet "$name" >/dev/null 2>&1 || base=$name
done
if [ -z "$base" ]; then
    echo "FLOWQ_BASE names no commit to begin at, and the branch follows none: only what looks at messages was tried"
    [ $failed = 0 ] && exit 77
    exit 1
fi
echo "since $base ($(git rev-parse --short "$base")):"
bash .ci/commit-msg --since "$base" || failed=1
exit $failed
