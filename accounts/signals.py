"""What the accounts floor tells those above it, who may not be imported here."""

from django.dispatch import Signal

# Sent at the beginning of the transaction that will rename, suspend, resume or close a district, before it has locked
# or written anything: whoever locks rows of an account's own before they write of it does so now, so that nobody waits
# for two locks crosswise. Argument: account (SftpAccount).
account_changing = Signal()

# Sent inside the transaction that opened, renamed, suspended, resumed or closed a district: what its SFTP host should
# hold is no longer what it holds. Arguments: account (SftpAccount), and before (District.State, or None for one that
# was opened): the state its district had until now.
account_changed = Signal()
