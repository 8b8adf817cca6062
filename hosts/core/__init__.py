"""The pure part of `hosts`: what is decided about paths, key files and sign-ins, without touching a host.

`errors` one tree of what can go wrong, `paths` every rule about names and places, `keyfile` which lines of a
pushed authorized_keys file let somebody in, `signin` what one offer of a key comes to, `events` the lines of
the connection log.
"""
