--- The shell functions that std.files is made of; POSIX, and at home with GNU and BusyBox programs alike.

local M = {}

--- Files appear whole: written beside, given owner and mode, renamed.
M.put = [==[
# Prints the file a path stands for: links are followed, so that they stay.
real() { if [ -L "$1" ]; then readlink -f -- "$1"; else printf '%s\n' "$1"; fi; }
# Fails unless user and group exist; numbers need not.
know_owner() {
  case $1 in ''|*[!0-9]*) [ -z "$1" ] || id -u "$1" >/dev/null 2>&1 || fail "there is no user $1 on the machine";; esac
  case $2 in ''|*[!0-9]*) [ -z "$2" ] || grep -q "^$2:" /etc/group || fail "there is no group $2 on the machine";; esac
}
# Makes the folders above a path.
need_parent() {
  parent=$(dirname -- "$1")
  [ -d "$parent" ] || mkdir -p -- "$parent" || fail "the folder $parent cannot be made"
  [ -w "$parent" ] || fail "$parent cannot be written to" "its file system may be mounted read-only: see mount on the machine"
}
# Gives a path its mode, owner and group, where they are another one: PATH MODE OWNER GROUP.
meta() {
  if [ -n "$2" ] && [ "$(stat -c %a -- "$1")" != "$2" ]; then
    chmod -- "$2" "$1" || fail "the mode of $1 cannot be changed"
    changed "mode of $1: $2"
  fi
  if [ -n "$3" ] && case "$(stat -c ' %U %u ' -- "$1")" in *" $3 "*) false;; esac; then
    chown -- "$3" "$1" || fail "the owner of $1 cannot be changed"
    changed "owner of $1: $3"
  fi
  if [ -n "$4" ] && case "$(stat -c ' %G %g ' -- "$1")" in *" $4 "*) false;; esac; then
    chgrp -- "$4" "$1" || fail "the group of $1 cannot be changed"
    changed "group of $1: $4"
  fi
}
# Puts the content of the file $1 in the place of $2; mode, owner and group are $3 $4 $5, else those of the old one.
put() {
  need_parent "$2"
  half=$(dirname -- "$2")/.$(basename -- "$2").half-$$
  if [ -e "$2" ]; then cp -a -- "$2" "$half"; else (umask 077; : >"$half") && chmod 644 "$half"; fi || {
    rm -f -- "$half"
    fail "$half cannot be written" "the file system may be full or mounted read-only"
  }
  { cat "$1" >"$half" && { [ -z "$4" ] || chown -- "$4" "$half"; } && { [ -z "$5" ] || chgrp -- "$5" "$half"; } &&
    { [ -z "$3" ] || chmod -- "$3" "$half"; }; } || { rm -f -- "$half"; fail "$2 cannot be written" "the disk may be full"; }
  # What is mounted by itself, as /etc/hosts in a container, cannot be renamed over.
  mv -f -- "$half" "$2" 2>/dev/null || { cat "$half" >"$2" && rm -f -- "$half"; } || { rm -f -- "$half"; fail "$2 cannot be replaced"; }
  ! have restorecon || restorecon -F "$2" 2>/dev/null || :
}
# Runs the user's check on a file that is about to be used.
validate() {
  [ -z "$1" ] || sh -c "$1" sh "$2" || fail "the new $3 is not valid: its check has failed" "the old one was left as it was"
}
]==]

--- A copy of a file is edited, and put in its place when it became another one.
M.edit = [==[
# Opens a file: PATH CREATE. The copy is $new.
edit() {
  need_scratch
  file=$(real "$1") new=$scratch/new fresh=
  [ ! -d "$file" ] || fail "$file is a folder"
  if [ -e "$file" ]; then
    cat "$file" >"$new" || fail "$file cannot be read"
  else
    [ -n "$2" ] || fail "$file does not exist" "with create = true it is made"
    fresh=yes
    : >"$new"
  fi
  cp "$new" "$new.old"
  # The last line may lack its end.
  [ -z "$(tail -c 1 "$new")" ] || { echo >>"$new"; echo >>"$new.old"; }
}
# Fails where grep does not understand an expression: OPTION EXPRESSION.
regex() {
  [ -n "$2" ] || return 0
  status=0
  printf '' | grep -E -e "$2" >/dev/null 2>&1 || status=$?
  [ "$status" -le 1 ] || fail "option $1: the machine's grep does not take '$2' as an extended regular expression"
}
# Prints the number of the last line that matches.
last() { grep -nE -e "$1" "$new" | tail -n 1 | cut -d: -f1; }
# Puts the text $3 in the place of the lines $1 to $2; none when $2 is one less. No text takes them away.
splice() {
  { head -n "$(($1 - 1))" "$new"; [ $# -lt 3 ] || printf '%s\n' "$3"; tail -n "+$(($2 + 1))" "$new"; } >"$new.next" &&
    mv "$new.next" "$new" || fail "the disk is full"
}
# Inserts a text: behind the last line like $after, before the last like $before, else at the start or the end.
insert() {
  spot=
  if [ -n "$after" ]; then
    spot=$(last "$after")
    [ -z "$spot" ] || spot=$((spot + 1))
  elif [ -n "$before" ]; then
    spot=$(last "$before")
  elif [ "$at" = start ]; then
    spot=1
  fi
  [ -n "$spot" ] || spot=$(($(wc -l <"$new") + 1))
  splice "$spot" "$((spot - 1))" "$1"
}
# Puts what was edited in place: MODE OWNER GROUP CHECK.
done_editing() {
  if [ -n "$fresh" ] || ! [ "$(cksum <"$new")" = "$(cksum <"$new.old")" ]; then
    validate "$4" "$new" "$file"
    put "$new" "$file" "$1" "$2" "$3"
    changed "$file"
  fi
  meta "$file" "$1" "$2" "$3"
}
]==]

M.line = [==[
line_present() {
  spot=
  [ -z "$match" ] || spot=$(last "$match")
  if [ -n "$spot" ]; then
    [ "$(sed -n "${spot}p" "$new")" = "$1" ] || splice "$spot" "$spot" "$1"
  elif ! grep -qxF -e "$1" "$new"; then
    insert "$1"
  fi
}
line_absent() { grep -vxF -e "$1" "$new" >"$new.next"; mv "$new.next" "$new"; }
match_absent() { grep -vE -e "$match" "$new" >"$new.next"; mv "$new.next" "$new"; }
]==]

M.block = [==[
# Sets $from and $to to where the block is, markers included.
find_block() {
  from=$(grep -nxF -e "$1" "$new" | cut -d: -f1)
  to=$(grep -nxF -e "$2" "$new" | cut -d: -f1)
  case "$from $to" in
    ' ') return 1;;
    *[!0-9\ ]*) fail "$file has the block's marker more than once: $1" "give each block of a file a name of its own";;
    ' '*|*' ') fail "$file has only one of the block's two markers" "remove the line, or put the other one back: $1 … $2";;
  esac
  [ "$from" -lt "$to" ] || fail "the block's markers in $file are in the wrong order: $1 … $2"
}
block_present() { if find_block "$1" "$3"; then splice "$from" "$to" "$1
$2$3"; else insert "$1
$2$3"; fi; }
block_absent() { ! find_block "$1" "$2" || splice "$from" "$to"; }
]==]

M.digest = [==[
# Prints the digest of a file: ALGORITHM PATH.
digest() {
  if have "${1}sum"; then set -- "$("${1}sum" <"$2")"; printf '%s\n' "${1%% *}"
  elif have openssl; then openssl dgst -r "-$1" <"$2" | cut -d' ' -f1
  else fail "the machine has neither ${1}sum nor openssl to check a file with"; fi
}
# Downloads to a file: URL PATH. What does not answer is asked again.
fetch() {
  have curl || have wget || fail "the machine has neither curl nor wget" "install one, or leave \`via\` away: rimg then downloads on its host"
  for pause in 1 3 6 0; do
    if have curl; then curl -fsSL --connect-timeout 30 --speed-limit 1 --speed-time 60 -o "$2" -- "$1"
    else wget -q -T 60 -O "$2" -- "$1"; fi && return
    [ "$pause" = 0 ] || sleep "$pause"
  done
  fail "$1 cannot be downloaded on the machine" "it may be offline: leave \`via\` away and rimg downloads on its host"
}
]==]

--- Unpacks beside, compares, copies over.
M.archive = [==[
need_program() { have "$1" || fail "the machine lacks $1, which is needed to unpack $2" "install it first, for instance with std.packages"; }
unpack() {
  mkdir "$scratch/tree" || fail "the disk is full"
  case $1 in
    *.zip) need_program unzip "$1"; unzip -q "$1" -d "$scratch/tree";;
    *) need_program tar "$1"
      case $1 in
        *.tar.gz|*.tgz) need_program gzip "$1"; gzip -dc "$1";;
        *.tar.xz|*.txz) need_program xz "$1"; xz -dc "$1";;
        *.tar.bz2|*.tbz2) need_program bzip2 "$1"; bzip2 -dc "$1";;
        *.tar.zst) need_program zstd "$1"; zstd -dcq "$1";;
        *) cat "$1";;
      esac | (cd "$scratch/tree" && tar -xof -);;
  esac || fail "$1 cannot be unpacked" "it may be another format than its name says, or the disk is full"
  top=$scratch/tree
  strip=$2
  while [ "$strip" -gt 0 ]; do
    inside=$(ls -A "$top")
    [ "$(printf '%s\n' "$inside" | wc -l)" = 1 ] && [ -d "$top/$inside" ] ||
      fail "strip = $2: there is more than one folder to take away in the archive"
    top=$top/$inside strip=$((strip - 1))
  done
}
# Prints what a folder has of the archive's content: kinds and modes, links, sums.
describe() (
  cd "$1" 2>/dev/null || exit 1
  # Not all at once: an argument list has its limits, and a name that is not there is a difference.
  each() { [ ! -s "$scratch/$1" ] || { list=$1 && shift && xargs -0 "$@" <"$scratch/$list"; }; }
  each files stat -c '%F %a %n' && each files cksum && each others stat -c '%F %n' && each links -n 1 readlink
) 2>/dev/null
# Tells whether all that was unpacked is in a folder already.
same_tree() {
  (cd "$top" && find . -type f -print0 >"$scratch/files" && find . -type l -print0 >"$scratch/links" &&
    find . ! -type f -print0 >"$scratch/others")
  wanted=$(describe "$top" | cksum) there=$(describe "$1" | cksum)
  [ "$wanted" = "$there" ]
}
]==]

return M
