//! What a POSIX shell on the machine does for a transfer. The programs are constants; whatever a user or a file system
//! names reaches them as an argument.
//!
//! Nothing appears half at its target: content goes to a name beside it, and is renamed when all of it is there. A
//! connection that breaks off looks to a program like the end of its input, so the end is checked.

use crate::engine::quote;

/// Returns the shell line that runs one of the programs.
pub fn line(program: &str, args: &[&str]) -> String {
    let words: Vec<&str> = ["sh", "-c", program, "rimg"].into_iter().chain(args.iter().copied()).collect();
    quote::join(&words)
}

/// Returns an operand that no program takes for an option.
pub fn operand(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
}

/// Answers that there is a shell. An account that is limited to file transfers runs its one program instead.
pub const PROBE: &str = r#"printf '%s\n' "$1""#;

/// Makes `$t` what a link at `$t` leads to, and `$d` its folder; newlines at the end of names are kept.
macro_rules! resolve {
    () => {
        r#"LC_ALL=C;export LC_ALL
if [ -L "$t" ];then r=$(readlink -f -- "$t" 2>/dev/null;echo x);case $r in /*)t=${r%??};;esac;fi
if [ -d "$t" ];then echo "$t is a folder" >&2;exit 1;fi
case $t in */*)d=${t%/*};d=${d:-/};;*)d=.;;esac
"#
    };
}
pub(crate) use resolve;

/// Receives a file. Arguments: target, mode, size, a name for the time being, the word that says it is done, and a
/// word if the file is there under that name already.
///
/// A device or pipe is written to as it is, and a file in a folder that may not be written to is written in place. A
/// file that is there keeps its owner.
pub const RECEIVE: &str = concat!(
    "t=$1\n",
    resolve!(),
    r#"p=$d/$4
if [ -n "$6" ];then case $1 in */*)p=${1%/*}/$4;;*)p=$4;;esac;fi
if [ -e "$t" ]&&{ [ ! -f "$t" ]||{ [ -z "$6" ]&&[ ! -w "$d" ];};};then
if [ -n "$6" ];then cat -- "$p" >"$t";else cat >"$t";fi||exit 1
printf '%s\n' "$5";exit 0;fi
trap 'rm -f -- "$p"' EXIT;trap 'exit 1' HUP INT TERM PIPE
umask 077
[ -n "$6" ]||cat >"$p"||exit 1
n=$(wc -c <"$p")||exit 1
[ "$n" -eq "$3" ]||{ echo "$n of $3 bytes arrived" >&2;exit 1;}
own=:
if [ -f "$t" ];then
a=$(stat -c %u:%g -- "$t" 2>/dev/null||stat -f %u:%g -- "$t" 2>/dev/null)
b=$(stat -c %u:%g -- "$p" 2>/dev/null||stat -f %u:%g -- "$p" 2>/dev/null)
[ "$a" = "$b" ]||chown -- "$a" "$p" 2>/dev/null||own=false;fi
chmod -- "$2" "$p"||exit 1
{ $own&&mv -f -- "$p" "$t" 2>/dev/null;}||{ cat -- "$p" >"$t"&&chmod -- "$2" "$t";}||exit 1
printf '%s\n' "$5""#
);

/// Moves the content of the folder `$1` into the folder `$2`, which is there: whole folders where nothing is in their
/// way, else what is in them. Folders that were there keep their modes, and a link to a folder stays one.
macro_rules! merge {
    () => {
        r#"v(){ shift;i=$1;shift;mv -f -- "$@" "$i/";}
m(){ chmod u+rwx "$1"||return 1
for e in "$1"/* "$1"/.[!.]* "$1"/..?*;do
if [ -d "$e" ]&&[ ! -L "$e" ];then
if [ -d "$2/${e##*/}" ];then m "$e" "$2/${e##*/}"||return 1
elif [ ! -w "$e" ];then chmod u+w "$e"&&mv -f -- "$e" "$2/"&&chmod u-w "$2/${e##*/}"||return 1;fi
fi;done
for e in "$1"/* "$1"/.[!.]* "$1"/..?*;do
[ -e "$e" ]||[ -L "$e" ]||continue
[ -d "$e" ]&&[ ! -L "$e" ]&&[ -d "$2/${e##*/}" ]&&continue
set -- "$@" "$e"
[ $# -lt 100 ]||{ v "$@"||return 1;set -- "$1" "$2";}
done
[ $# -eq 2 ]||v "$@";}
"#
    };
}

/// Receives a folder as a tar stream, or with `$5` takes it from that folder. Arguments: target, a name for the time
/// being, the name of the file that says it is whole, the word that says it is done.
pub const RECEIVE_TREE: &str = concat!(
    merge!(),
    r#"LC_ALL=C;export LC_ALL
t=$1
while :;do case $t in ?*/)t=${t%/};;*)break;;esac;done
if [ -d "$t" ];then p=${t%/}/$2;else
if [ -e "$t" ]||[ -L "$t" ];then echo "$t is there, and is no folder" >&2;exit 1;fi
case $t in */*)d=${t%/*};d=${d:-/};;*)d=.;;esac
mkdir -p -- "$d"||exit 1;p=$d/$2;fi
trap 's=$?;[ ! -e "$p" ]||rm -rf -- "$p" 2>/dev/null||{ chmod -R u+rwx "$p";rm -rf -- "$p";};exit $s' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir -- "$p"||exit 1
if [ -n "$5" ];then cp -dRp -- "$5/." "$p" 2>/dev/null||cp -RPp -- "$5/." "$p"||exit 1
chmod 755 "$p"
else tar -xpof - -C "$p"||exit $?
[ -e "$p/$3" ]||{ echo "the folder did not arrive whole" >&2;exit 1;}
rm -f -- "$p/$3"||exit 1;fi
if [ -d "$t" ];then m "$p" "$t";else mv -- "$p" "$t";fi&&printf '%s\n' "$4""#
);

/// Sends a file: a line that says how, then its content as it is, or in a tar that leaves its holes out. Arguments: the
/// file, the word that begins the line.
pub const SEND: &str = r#"LC_ALL=C;export LC_ALL
if [ -d "$1" ];then echo "$1 is a folder" >&2;exit 1;fi
set -- "$1" "$2" $(stat -Lc '%s %b' -- "$1" 2>/dev/null)
if [ $# -eq 4 ]&&[ $(($3-$4*512)) -gt 1048576 ]&&[ $(($3-$4*512)) -gt $(($3/8)) ]&&
tar --version 2>/dev/null|grep -q 'GNU tar';then
printf '%s tar\n' "$2";exec tar -chSPf - --format=gnu -- "$1";fi
exec 3<"$1"||exit 1
printf '%s file\n' "$2";exec cat <&3"#;

/// Sends the content of a folder as a tar stream after a line. Arguments: the folder, the word that is the line.
pub const SEND_TREE: &str = r#"LC_ALL=C;export LC_ALL
cd -- "$1"||exit 1
command -v tar >/dev/null||{ echo "tar is not installed" >&2;exit 127;}
printf '%s\n' "$2"
if tar --version 2>/dev/null|grep -q 'GNU tar';then exec tar -cSf - --format=gnu .;fi
exec tar -cf - ."#;

/// Tells whether the machine's tar knows GNU's sparse files: says the word `$1` if so.
pub const TAR_IS_SPARSE: &str = r#"if tar --version 2>/dev/null|grep -qE 'GNU tar|bsdtar';then printf '%s\n' "$1";fi"#;
