"""The root-side helper of an OpenSSH host: makes accounts and homes, claims uploads, tells what changed.

It runs as root on a machine the portal's people may not trust the portal with, so it trusts nothing that the portal
or a district put on the disk. `judging` is pure and decides; the other modules do, by directory handles only.

`settings` the root-owned configuration, `places` directories and files with their owners, `requests` the queue between
portal and helper, `operations` which request does what, `judging` and `accounts` and `userfiles` the list of accounts,
`uploads` looking and reading, `claims` taking an epoch out of a district's reach, `processes` open handles and
sessions, `inotify` and `changes` which uploads changed, `serving` the daemon, `shipping` and `sessions` the
connection log.
"""

VERSION = "1"
