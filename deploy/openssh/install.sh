#!/bin/sh
# Makes this Debian or Ubuntu machine an SFTP host of the portal, or brings one up to date. May be run again at any time:
# what is as it should be is left alone, and it says what it changed. README.md tells what each part is.
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

here=$(cd -- "$(dirname -- "$0")" && pwd -P)
repository=$(cd -- "$here/../.." && pwd -P)
root='' dry='' legacy='' refuse_times='' portal_key='' packages=yes start=yes
drop_ins=/etc/ssh/sshd_config.d
# Below /usr/lib/sftp-portal: the programs, and what they need of the portal itself, beside hosts/core.
programs='portal-host portal-log keys-of'
shared='hosts/__init__.py hosts/files.py hosts/keyfiles.py hosts/local.py'
units='sftp-portal-helper.service sftp-portal-log.service sftp-portal-quotas.service sftp-portal-quotas.timer'
settings='helper.toml 60-sftp-portal.conf sftp-portal.conf sftp-portal-legacy.conf sftp-portal-refuse-times.conf'
# They sort before ours: sshd takes the first value.
legacy_switch=00-sftp-portal-legacy.conf
times_switch=00-sftp-portal-refuse-times.conf
changes=0 program_changed='' sshd_changed='' units_changed=''

usage() {
    cat <<'TEXT'
Usage: install.sh [options]
  --portal-key FILE   public key (one line or more) the portal signs in with; replaces the ones there were
  --legacy on|off     let old programs in (SHA-1, CBC), or no more; without it, it stays as it is
  --refuse-times on|off
                      refuse to set files' times (and modes), or no more; without it, it stays as it is
  --dry-run           say what would be changed, and change nothing
  --root DIR          put the files below DIR, and touch neither users, packages nor services (to look at them, to pack)
  --no-packages       do not install packages; stop if one is missing
  --no-start          do not start, restart or reload any service
TEXT
}

while [ $# -gt 0 ]; do
    case $1 in
        --portal-key) portal_key=${2:?--portal-key needs a file}; shift ;;
        --legacy) legacy=${2:?--legacy needs on or off}; shift ;;
        --refuse-times) refuse_times=${2:?--refuse-times needs on or off}; shift ;;
        --root) root=$(cd -- "${2:?--root needs a directory}" && pwd -P); shift ;;
        --dry-run) dry=yes ;;
        --no-packages) packages=no ;;
        --no-start) start=no ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

# --- Small words ---------------------------------------------------------------------------------------------------

stop() { echo "install.sh: $*" >&2; exit 1; }
# What is changed, told once it has to be; false in a dry run, so that nothing is done.
change() { changes=$((changes + 1)); echo "${dry:+would: }$*"; [ -z "$dry" ]; }
on_system() { [ -z "$root" ]; }
booted() { [ -z "$root" ] && [ -d /run/systemd/system ] && [ "$start" = yes ]; }
facts() { stat -c '%F %a %U:%G' -- "$1" 2>/dev/null || echo none; }

# owner "-" when there are no users to give files to (--root)
directory() { # path mode owner:group
    owner=$3
    on_system || owner=$(id -un):$(id -gn)
    [ "$(facts "$root$1")" = "directory $2 $owner" ] && return
    [ ! -L "$root$1" ] || stop "$1 is a link; it must be a directory."
    if change "directory $1 ($2 $3)"; then
        mkdir -p -- "$root$1"
        chown "$owner" -- "$root$1"
        chmod "$2" -- "$root$1"
    fi
}

# Callers ask in an `if` whether it changed anything, where set -e is off: each step says for itself that it failed.
file() { # source path mode; root's
    if [ -f "$root$2" ] && [ ! -L "$root$2" ] && cmp -s -- "$1" "$root$2" &&
        { ! on_system || [ "$(facts "$root$2")" = "regular file ${3#0} root:root" ] ||
        [ "$(facts "$root$2")" = "regular empty file ${3#0} root:root" ]; }; then
        return 1
    fi
    if change "file $2"; then
        {
            mkdir -p -- "$(dirname -- "$root$2")" && install -T -m "$3" -- "$1" "$root$2.sftp-portal-new" &&
                mv -fT -- "$root$2.sftp-portal-new" "$root$2"
        } || stop "$2 could not be written. Mend what is said above, and run this again."
    fi
}

gone() { # path
    [ -e "$root$1" ] || return 1
    if change "removed $1"; then rm -f -- "$root$1" || stop "$1 could not be removed."; fi
}

# --- Parts ---------------------------------------------------------------------------------------------------------

check_machine() {
    for needed in $programs portal_host/__main__.py $units $settings; do
        [ -f "$here/$needed" ] || stop "$needed must lie beside this script. Bring all files (README.md, step 1)."
    done
    for needed in $shared hosts/core/paths.py; do
        [ -f "$repository/$needed" ] || stop "$needed must lie two levels above this script. Bring all files (README.md, step 1)."
    done
    on_system || return 0
    [ "$(id -u)" = 0 ] || stop "Run this as root."
    for above in / /srv; do
        case $(stat -c '%U %A' "$above") in
            'root d'????-??-*) ;;
            *) stop "sshd wants $above to belong to root, and nobody else to write to it. Now: $(facts "$above")" ;;
        esac
    done
    # shellcheck disable=SC1091
    case "$(. /etc/os-release && echo " $ID ${ID_LIKE:-} ")" in
        *' debian '* | *' ubuntu '*) ;;
        *) stop "This is for Debian 12 and Ubuntu." ;;
    esac
}

install_packages() {
    missing=''
    for package in openssh-server libnss-extrausers python3; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        [ "$packages" = yes ] || stop "These packages are missing:$missing"
        # shellcheck disable=SC2086
        if change "packages:$missing"; then
            DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
        fi
    fi
    [ -n "$dry" ] || /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "The helper needs Python 3.11 or newer as /usr/bin/python3 (Debian 12, Ubuntu 24.04)."
}

system_user() { # name
    getent passwd "$1" >/dev/null && return
    if change "system user $1"; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
            --comment "SFTP Portal" "$1"
        # No password fits; a locked account would be refused by sshd where PAM is off.
        usermod --password '*' "$1"
    fi
}

make_directories() {
    directory /srv/sftp-portal 755 root:root
    directory /srv/sftp-portal/keys 2750 sftp-portal:sftp-portal-keys
    directory /srv/sftp-portal/homes 755 root:root
    directory /srv/sftp-portal/claimed 700 sftp-portal:sftp-portal
    directory /srv/sftp-portal/claiming 700 root:root
    directory /srv/sftp-portal/requests 700 sftp-portal:sftp-portal
    directory /srv/sftp-portal/answers 750 root:sftp-portal
    directory /srv/sftp-portal/log 750 root:sftp-portal
    # Nobody else may open it: whoever holds a lock on it keeps the helper from starting.
    directory /var/lib/sftp-portal 711 root:root
    directory /var/lib/sftp-portal/offers 700 sftp-portal-keys:sftp-portal-keys
    directory /var/lib/extrausers 755 root:root
    directory /etc/sftp-portal 755 root:root
    directory /usr/lib/sftp-portal 755 root:root
}

copy_program() {
    library=/usr/lib/sftp-portal
    for name in $programs; do
        if file "$here/$name" "$library/$name" 0755; then program_changed=yes; fi
    done
    for source in "$here"/portal_host/*.py "$repository"/hosts/core/*.py; do
        case $source in
            "$here"/*) target=${source#"$here"/} ;;
            *) target=${source#"$repository"/} ;;
        esac
        if file "$source" "$library/$target" 0644; then program_changed=yes; fi
    done
    for target in $shared; do
        if file "$repository/$target" "$library/$target" 0644; then program_changed=yes; fi
    done
    # What an older version had and this one has not.
    for target in "$root$library"/portal_host/*.py "$root$library"/hosts/core/*.py; do
        name=${target#"$root$library"/}
        if [ ! -e "$here/$name" ] && [ ! -e "$repository/$name" ] && gone "$library/$name"; then program_changed=yes; fi
    done
    if [ "$(readlink "$root/usr/sbin/portal-host" 2>/dev/null)" != ../lib/sftp-portal/portal-host ] &&
        change "command portal-host"; then
        mkdir -p "$root/usr/sbin"
        ln -sfn ../lib/sftp-portal/portal-host "$root/usr/sbin/portal-host"
    fi
}

are_keys() { # file: a public key in each line, maybe after options
    lines=$(grep -c '^[[:blank:]]*[^#[:blank:]]' "$1" || :)
    [ "${lines:-0}" -gt 0 ] || stop "$1 holds no key."
    command -v ssh-keygen >/dev/null || return 0 # not yet installed, or only laid out here (--root)
    [ "$(ssh-keygen -lf "$1" 2>/dev/null | grep -c .)" = "$lines" ] ||
        stop "$1 has a line that is no public key. Put the line there that the portal shows."
}

write_settings() {
    # The helper's settings are yours: made once, and never overwritten.
    if [ ! -e "$root/etc/sftp-portal/helper.toml" ]; then file "$here/helper.toml" /etc/sftp-portal/helper.toml 0644; fi
    if [ -n "$portal_key" ]; then
        ! grep -q 'PRIVATE KEY' "$portal_key" || stop "$portal_key is a private key. Give the public one."
        are_keys "$portal_key"
        file "$portal_key" /etc/sftp-portal/portal_keys 0644 || :
    elif [ ! -e "$root/etc/sftp-portal/portal_keys" ]; then
        file /dev/null /etc/sftp-portal/portal_keys 0644
    fi
    if file "$here/60-sftp-portal.conf" /etc/sysctl.d/60-sftp-portal.conf 0644 && on_system && [ -z "$dry" ]; then
        sysctl -q -p /etc/sysctl.d/60-sftp-portal.conf 2>/dev/null ||
            echo "note: the limits of /etc/sysctl.d/60-sftp-portal.conf could not be set now; they are from the next start."
    fi
}

extrausers() {
    for name in passwd group; do
        if [ ! -e "/var/lib/extrausers/$name" ]; then file /dev/null "/var/lib/extrausers/$name" 0644; fi
    done
    if [ ! -e /var/lib/extrausers/shadow ] && change "file /var/lib/extrausers/shadow"; then
        install -m 0640 -o root -g shadow /dev/null /var/lib/extrausers/shadow
    fi
    wanted=$(sed -E '/^(passwd|group|shadow):/ { /\bextrausers\b/! s/\b(files|compat)\b/\1 extrausers/ }' /etc/nsswitch.conf)
    [ "$(printf '%s\n' "$wanted" | grep -cE '^(passwd|group|shadow):.*\bextrausers\b')" = 3 ] ||
        stop "/etc/nsswitch.conf has no line passwd, group or shadow with the word files. Add extrausers to all three."
    if [ "$wanted" != "$(cat /etc/nsswitch.conf)" ] && change "file /etc/nsswitch.conf: extrausers (before: /etc/nsswitch.conf.before-sftp-portal)"; then
        cp -p /etc/nsswitch.conf /etc/nsswitch.conf.before-sftp-portal
        printf '%s\n' "$wanted" >/etc/nsswitch.conf.sftp-portal-new
        chmod 644 /etc/nsswitch.conf.sftp-portal-new
        mv -f /etc/nsswitch.conf.sftp-portal-new /etc/nsswitch.conf
    fi
}

effective() { # user
    sshd -T -C "user=$1,host=example.org,addr=192.0.2.1" 2>/dev/null || :
}

switched() { # option its-value file name-when-on
    case $2 in
        '') ;;
        on) if file "$here/$3" "$drop_ins/$4" 0644; then sshd_changed=yes; fi ;;
        off) if gone "$drop_ins/$4"; then sshd_changed=yes; fi ;;
        *) stop "$1 is on or off." ;;
    esac
    # One that is on is brought up to date as well.
    if [ -z "$2" ] && [ -e "$root$drop_ins/$4" ] && file "$here/$3" "$drop_ins/$4" 0644; then sshd_changed=yes; fi
}

sshd_files() {
    switched --legacy "$legacy" sftp-portal-legacy.conf "$legacy_switch"
    switched --refuse-times "$refuse_times" sftp-portal-refuse-times.conf "$times_switch"
    if file "$here/sftp-portal.conf" "$drop_ins/sftp-portal.conf" 0644; then sshd_changed=yes; fi
}

sshd_files_back() { # from where they were kept, in $before
    for name in sftp-portal.conf "$legacy_switch" "$times_switch"; do
        rm -f "$drop_ins/$name"
        if [ -e "$before/$name" ]; then cp -p "$before/$name" "$drop_ins/"; fi
    done
    rm -rf "$before"
}

# The files are put in place, tried, and taken back if sshd does not take them: it goes on as it was.
configure_sshd() {
    if ! on_system || [ -n "$dry" ]; then
        sshd_files
        return
    fi
    grep -qiE '^[[:space:]]*Include[[:space:]]+("?)/etc/ssh/sshd_config\.d/\*\.conf' /etc/ssh/sshd_config ||
        stop "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d/*.conf. Add that line at its top."
    ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1 || { change "host keys" && ssh-keygen -A >/dev/null; }
    mkdir -p /run/sshd
    before=$(mktemp -d)
    for name in sftp-portal.conf "$legacy_switch" "$times_switch"; do
        if [ -e "$drop_ins/$name" ]; then cp -p "$drop_ins/$name" "$before/"; fi
    done
    effective root | sort >"$before/root"
    trap sshd_files_back EXIT
    sshd_files
    if ! complaint=$(sshd -t 2>&1) || ! safe; then
        stop "sshd does not take its new configuration; the old one is back. ${complaint:-$problem}"
    fi
    trap - EXIT
    if [ -n "$sshd_changed" ]; then
        echo "what changes for everybody else who signs in here (- before, + now):"
        effective root | sort | diff -U0 "$before/root" - | grep '^[-+][^-+]' | cut -c1-110 | sed 's/^/    /' || :
    fi
    rm -rf "$before"
}

safe() {
    problem=''
    ! effective root | grep -q '^authorizedkeyscommand /usr/lib/sftp-portal' ||
        problem="The key command would hold for root."
    effective sftp-portal | grep -qx 'chrootdirectory /srv/sftp-portal' ||
        problem="A Match block of yours comes before ours and holds for sftp-portal: leave that user out of it."
    effective sftp-portal | grep -qx 'strictmodes yes' ||
        problem="A file of yours says StrictModes no: key files that others may write to would be trusted. Take that line out."
    [ -z "$problem" ]
}

# What another file says of the machine as a whole may be meant; but nobody would look for the reason here.
overruled() {
    for line in 'loglevel verbose' 'maxstartups 100:30:500'; do
        now=$(effective root | grep -i "^${line%% *} ") || continue
        case $(printf '%s' "$now" | tr '[:upper:]' '[:lower:]') in
            "$line" | 'loglevel debug'*) continue ;;
        esac
        echo "note: another file of sshd's says \"$now\" where sftp-portal.conf says \"$line\"."
        case $line in
            loglevel*) echo "      Without it the portal cannot tell who signed in, with which key, or why not. Take that line out." ;;
            *) echo "      A night's uploads start together; too low, and some are turned away." ;;
        esac
    done
    effective root | grep -E '^(allow|deny)(users|groups) ' | while read -r line; do
        echo "note: sshd's own \"$line\" holds for districts, too: the user sftp-portal and the groups sftpacct-* must be let in."
    done
}

units() {
    for unit in $units; do
        if file "$here/$unit" "/etc/systemd/system/$unit" 0644; then units_changed=yes; fi
    done
    booted && [ -z "$dry" ] || return 0
    [ -z "$units_changed" ] || systemctl daemon-reload
    for unit in sftp-portal-helper.service sftp-portal-log.service sftp-portal-quotas.timer; do
        if ! systemctl -q is-enabled "$unit" 2>/dev/null && change "service $unit enabled"; then systemctl -q enable "$unit"; fi
        if [ -n "$units_changed$program_changed" ] || ! systemctl -q is-active "$unit"; then
            if change "service $unit started"; then systemctl restart "$unit"; fi
        fi
    done
    if [ -n "$sshd_changed" ] && change "service ssh reloaded"; then systemctl reload-or-restart ssh; fi
}

# --- All of it -----------------------------------------------------------------------------------------------------

check_machine
if on_system; then
    install_packages
    system_user sftp-portal
    system_user sftp-portal-keys
fi
make_directories
copy_program
write_settings
if on_system; then extrausers; fi
configure_sshd
units

if [ "$changes" = 0 ]; then echo "All is as it should be; nothing was changed."; fi
if on_system && [ -z "$dry" ]; then
    if [ -n "$sshd_changed" ] && ! booted; then echo "note: sshd was not reloaded; do it to make the new lines hold."; fi
    overruled
    [ -s /etc/sftp-portal/portal_keys ] || echo "next: install.sh --portal-key FILE with the public key the portal shows for this host."
    echo "the host keys, to compare with what the portal shows:"
    for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf "$key" | sed 's/^/    /'; done
fi
