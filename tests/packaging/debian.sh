#!/usr/bin/env bash
# The Debian package where it belongs: in a Debian root made by debootstrap, under its own systemd.
#
#   tests/packaging/debian.sh PACKAGE.deb NEWER.deb
#
# Installs the first, calls through it in real Chromiums, upgrades it to the second and to one that cannot run while calls are running,
# removes and purges it. Needs root, debootstrap, systemd-nspawn, chromium and chromedriver; the mirror is the one apt uses here. What was
# seen is written to target/debian-package.txt. The root has no network but its own loopback, and the machine's browsers look in there.
# PACKAGED_TESTS names the program of the end-to-end tests, if that is built already.
set -euo pipefail
cd "$(dirname "$0")/../.."
. configs/deploy/tools.sh
first="$(realpath "$1")" second="$(realpath "$2")"
release="${DEBIAN_RELEASE:-bookworm}"
report="$target/debian-package.txt"
work="$target/debian-root"
base="$work/$release" root="$work/root"
mkdir -p "$work"
rm -f "$work"/*.log

die() { printf 'debian.sh: %s\n' "$*" >&2; exit 1; }
seen() { printf '%s\n' "$*" | tee -a "$report"; }
[[ $(id -u) == 0 ]] || die "needs root"
for need in debootstrap systemd-nspawn chromium chromedriver; do
  command -v "$need" >/dev/null || die "needs $need"
done
echo "The Debian package in a Debian root" >"$report"

# --- The root, made once ---
if [[ ! -e $base.made ]]; then
  mirror="$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk -v it="$release" '$1 == "Debian" && $2 == it { print $3; exit }')"
  [[ -n $mirror ]] || die "apt knows no mirror of Debian $release here"
  rm -rf "$base"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus "$release" "$base" "$mirror" >"$work/debootstrap.log" ||
    { tail -n 5 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
  touch "$base.made"
fi
rm -rf "$root"
cp -a --reflink=auto "$base" "$root"
seen "root: Debian $(cat "$root/etc/debian_version") ($release), $(chroot "$root" systemctl --version | head -n 1), kernel $(uname -r)"

# --- Booted ---
# The whole of systemd, as on a server: its own processes, files, network and cgroups. nspawn wants a /run that is no disk, and would take
# Landlock away.
unshare --mount --propagation private bash -c \
  'mount -t tmpfs tmpfs /run && SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --directory="$1" --boot --private-network \
     --register=no --keep-unit --console=pipe --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self"' - "$root" >"$work/boot.log" 2>&1 </dev/null &
nspawn=$!
# SIGTERM has it shut the system down in order.
trap 'kill "$nspawn" 2>/dev/null; wait "$nspawn" 2>/dev/null || true' EXIT
eventually() {
  local what="$1" end=$((SECONDS + 300))
  shift
  until "$@"; do
    ((SECONDS < end)) || die "waited in vain: $what"
    kill -0 "$nspawn" 2>/dev/null || die "the root has gone down: $(tail -n 5 "$work/boot.log")"
    sleep 0.2
  done
}
# nspawn has short-lived children before its init.
leader() { init="$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null)" && init="${init%% *}" && [[ -n $init ]]; }
init=''
clean=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive)
inside() { nsenter --target "$init" --mount --uts --ipc --net --pid --cgroup --root --wd -- "${clean[@]}" "$@"; }
up() { leader && [[ $(inside systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; }
eventually "the system to be up" up
seen "booted: systemd-nspawn --boot, $(inside systemctl is-system-running), only a loopback"

# --- Before, to compare with ---
# What is there but for what belongs to dpkg, logs and the moment.
files() {
  inside find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /tmp -o -path /root -o -path /proc -o -path /sys \
    -o -path /run -o -path /dev -o -path /var/lib/apt -o -path /var/lib/systemd \) -prune -o -print | sort
}
files >"$work/before.txt"

# --- Installed ---
version() { inside dpkg-query --show --showformat '${Version}' relay; }
main_pid() { inside systemctl show --property MainPID --value relay; }
processes() { inside sh -c 'grep -lx relay /proc/[0-9]*/comm' 2>/dev/null | cut -d / -f 3 | sort -n | tr '\n' ' '; }
cp "$first" "$root/srv/first.deb"
cp "$second" "$root/srv/second.deb"
inside apt-get install --yes --quiet /srv/first.deb >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; die "apt-get install"; }
inside dpkg --audit
is_active() { inside systemctl --quiet is-active relay; }
eventually "the daemon, as installed" is_active
inside systemctl --quiet is-enabled relay || die "not enabled"
seen "installed: $(version), enabled, active, by $(inside systemctl show --property FragmentPath --value relay)"
verified="$(inside systemd-analyze verify relay.service 2>&1)" || die "systemd-analyze verify: $verified"
[[ -z $verified ]] || die "systemd-analyze verify: $verified"
seen "the unit verifies; $(inside systemd-analyze security --no-pager relay.service | tail -n 1 | sed 's/^[^A-Za-z]*//; s/ [^ ]*$//')"
pid="$(main_pid)"
uid="$(inside awk '/^Uid:/ { print $2 }' "/proc/$pid/status")"
[[ $uid == "$(inside id -u relay)" && $uid != 0 ]] || die "it runs as $uid"
seen "it runs as relay ($uid) with $(inside awk '/^Max open files/ { print $4 }' "/proc/$pid/limits") descriptors, as far as this machine gives what the unit asks for"
[[ $(inside stat -c '%U:%G %a' /etc/relay/relay.toml /etc/relay | tr '\n' ' ') == "root:relay 640 root:relay 750 " ]] || die "permissions of /etc/relay"
# Nobody keeps a clock in there, and it says so; it is the machine's.
inside relay doctor --config /etc/relay/relay.toml >"$work/doctor.txt" 2>&1 || true
grep -q '^good     configuration' "$work/doctor.txt" || die "doctor: $(cat "$work/doctor.txt")"
if grep '^bad' "$work/doctor.txt" | grep -v '^bad      clock'; then die "doctor finds fault with the server as installed"; fi
inside relay prove --config /etc/relay/relay.toml >"$work/prove.txt" 2>&1 || { cat "$work/prove.txt" >&2; die "relay prove"; }
seen "as installed: doctor finds nothing bad but the clock of a container, relay prove holds"
inside sh -c 'test -s /usr/share/man/man1/relay-doctor.1.gz && test -s /usr/share/bash-completion/completions/relay'

# --- Configured by whoever runs it ---
inside sed -i 's/^# signalling = .*/signalling = "127.0.0.1:8080"   # edited here/; s/^realm = .*/realm = "voice.example"/' /etc/relay/relay.toml
edited="$(inside sha256sum /etc/relay/relay.toml)"
inside systemctl restart relay
inside bash -c '</dev/tcp/127.0.0.1/8080' || die "no signalling: $(inside journalctl --unit relay --no-pager | tail -n 5)"
same="$(main_pid)"
inside systemctl reload relay
[[ $(main_pid) == "$same" ]] || die "a reload of the same program starts another one"
seen "edited, restarted, reloaded by SIGHUP in the same process"

# --- Called through, upgraded meanwhile ---
# A newer version that cannot run, and whose configuration differs: dpkg keeps what was edited and puts the new one beside it.
broken="$work/broken"
rm -rf "$broken"
dpkg-deb --raw-extract "$second" "$broken"
sed -i "s/^Version: .*/Version: $(dpkg-deb --field "$second" Version)+broken/" "$broken/DEBIAN/control"
printf '#!/bin/sh\necho "no such instruction" >&2\nexit 1\n' >"$broken/usr/bin/relay"
echo '# A line that is new.' >>"$broken/etc/relay/relay.toml"
(cd "$broken" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group --build "$broken" "$root/srv/broken.deb" >/dev/null
printf 'init=%q\nclean=(%s)\n%s\n' "$init" "${clean[*]}" "$(declare -f inside)" >"$work/inside.sh"
install() { printf 'bash -c %q' ". '$work/inside.sh'; inside apt-get install --yes --quiet -o Dpkg::Options::=--force-confold /srv/$1.deb"; }
export PACKAGED_PAGE=http://127.0.0.1:8080 PACKAGED_UPGRADE PACKAGED_BAD_UPGRADE
PACKAGED_UPGRADE="$(install second) >$work/upgrade.log 2>&1"
PACKAGED_BAD_UPGRADE="$(install broken) >$work/bad-upgrade.log 2>&1"
tests="${PACKAGED_TESTS:-$(cargo test -p e2e --test e2e --no-run --message-format json 2>/dev/null | sed -n '/"kind":\["test"\]/s/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)}"
[[ -x $tests ]] || die "cargo test -p e2e --no-run"
before="$(main_pid)"
nsenter --target "$init" --net -- "$tests" --exact --ignored --nocapture packaged::calls_live_on_while_the_package_is_upgraded >"$work/calls.log" 2>&1 ||
  { cat "$work/calls.log" >&2; inside journalctl --unit relay --no-pager | tail -n 40 >&2; cat "$work"/*upgrade.log >&2; die "calls"; }
grep -q '1 passed' "$work/calls.log" || die "no call was tried"
sed -n 's/^seen: /  /p' "$work/calls.log" | tee -a "$report"
[[ $(main_pid) != "$before" ]] || die "the upgrade did not change the process"
[[ $(inside systemctl show --property NRestarts --value relay) == 0 ]] || die "systemd restarted it"
grep -q 'could not take over' "$work/bad-upgrade.log" || die "nobody was told that the bad version does not run"
[[ $(version) == *+broken ]] || die "$(version) is installed"
[[ $edited == "$(inside sha256sum /etc/relay/relay.toml)" ]] || die "the edited configuration is gone"
inside test -e /etc/relay/relay.toml.dpkg-dist || die "the new configuration is not beside it"
only_one() { [[ $(processes) == "$(main_pid) " ]]; }
eventually "the old process to end, its call being over" only_one
seen "upgraded to $(dpkg-deb --field "$second" Version): process $before handed over to $(main_pid), restarts by systemd 0, the edited configuration kept"
seen "upgraded to $(version), which cannot run: said so, process $(main_pid) goes on"

# --- Back to a version that runs, removed, purged ---
inside apt-get install --yes --quiet --allow-downgrades -o Dpkg::Options::=--force-confold /srv/second.deb >"$work/downgrade.log" 2>&1 || die "$(cat "$work/downgrade.log")"
is_active || die "not active after a downgrade"
# This one was not started by systemd but by the reload, and is watched all the same.
inherited="$(main_pid)"
inside sh -c "kill -KILL $inherited"
started_again() { is_active && [[ $(main_pid) != "$inherited" ]]; }
eventually "systemd to start a killed daemon again" started_again
seen "killed after a hand-over: systemd noticed and started another"
inside apt-get remove --yes --quiet relay >"$work/remove.log" 2>&1 || die "$(cat "$work/remove.log")"
[[ -z $(processes) ]] || die "a removed relay runs"
[[ $edited == "$(inside sha256sum /etc/relay/relay.toml)" ]] || die "removing took the configuration"
inside apt-get install --yes --quiet /srv/second.deb >"$work/again.log" 2>&1 || die "$(cat "$work/again.log")"
eventually "the daemon, installed again" is_active
seen "removed: no process, the configuration stays; installed again: active"
inside apt-get purge --yes --quiet relay >"$work/purge.log" 2>&1 || die "$(cat "$work/purge.log")"
[[ -z $(processes) ]] || die "a purged relay runs"
inside getent passwd relay && die "the user is left"
inside getent group relay && die "the group is left"
# What the test itself brought in.
rm "$root"/srv/{first,second,broken}.deb
files >"$work/after.txt"
left="$(comm -13 "$work/before.txt" "$work/after.txt" | grep -v '^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-$' || true)"
[[ -z $left ]] || die "a purge leaves: $left"
[[ $(inside systemctl list-unit-files --no-legend 'relay*' | wc -l) == 0 ]] || die "a unit is left"
seen "purged: no file, user, group or unit left"

# --- Where no systemd runs, as in a container's image ---
rm -rf "$root.still"
cp -a --reflink=auto "$base" "$root.still"
cp "$first" "$root.still/srv/first.deb"
chroot "$root.still" "${clean[@]}" sh -ec 'apt-get install --yes --quiet /srv/first.deb; relay check --config /etc/relay/relay.toml; apt-get purge --yes --quiet relay' \
  >"$work/still.log" 2>&1 || { cat "$work/still.log" >&2; die "without systemd"; }
rm -rf "$root.still"
seen "installed and purged where no systemd runs"
