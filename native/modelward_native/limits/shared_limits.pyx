"""What this server spends of limits that it shares with other servers: the control plane's end of limits/shared_limits.h."""
from libc.math cimport exp
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.limits.limit cimport (
    CELL, MW_DEMAND_NS, MW_SHARED_ACCOUNTS, Limiter, mw_account, mw_account_forget, mw_account_is_due, mw_account_share,
    mw_account_take, mw_cell)
from modelward_native.region.region cimport Region

cdef enum:
    TOTAL = MW_SHARED_ACCOUNTS    # numbers of accounts: identities, the total, models


cdef class SharedAccounts:
    """The accounts of one server: one object per server. Times are ns; of accounts they are of the limit's time."""

    cdef Limiter limiter
    cdef list models                  # names
    cdef list cells                   # of each, where its mw_cell lies; the limiter's region keeps the memory
    cdef uint64_t named               # of the region, when they were looked for

    def __init__(self, Limiter limiter not None):
        """limiter: one that shares."""
        if limiter.shared == NULL:
            raise ValueError("this limiter shares nothing")
        self.limiter = limiter
        self.models = []
        self.cells = []

    cdef mw_account *account(self, uint32_t number) except NULL:
        if number < TOTAL:
            return &self.limiter.shared.identity[number]
        if number == TOTAL:
            return &self.limiter.shared.total
        return &self.cell(number).account

    cdef mw_cell *cell(self, uint32_t number) except NULL:
        return <mw_cell *><size_t>self.cells[<Py_ssize_t>(number - TOTAL - 1)]

    cdef int look_for_models(self) except -1:
        cdef Region region = self.limiter.region
        if self.named == region.header.names:
            return 0
        region.hold()                 # until a name that is just being given is there
        try:
            self.named = region.header.names
            names = [name for name in region.names() if name.startswith(CELL)]
            self.models = [name[len(CELL):] for name in names]
            self.cells = [<size_t>region.common(name, sizeof(mw_cell)) for name in names]
        finally:
            region.let_go()
        return 0

    def take(self, uint32_t most, int64_t elapsed, int64_t now):
        """Ends a round that began `elapsed` ago: (number, level, name, spent, change of demand, most ahead) of each used account.

        level and name are the same in all servers: "identity" and a hash of 8 bytes, "model" and its name, "total" and
        nothing. Demand is in parts of the limit. Of more accounts than `most` those with most in them; the others keep it for
        the next round.
        """
        cdef uint32_t number
        cdef int64_t spent
        cdef double changed
        cdef mw_account *account
        self.look_for_models()
        due = []
        for number in range(TOTAL + 1 + <uint32_t>len(self.models)):
            # most places of identities have never been used
            if number < TOTAL and not self.limiter.shared.identity[number].hash:
                continue
            account = self.account(number)
            if mw_account_is_due(account):
                due.append((abs(account.spent_ns) + account.wanted_ns, number))
        elapsed = max(elapsed, 1)
        if <uint32_t>len(due) > most:
            due.sort(reverse=True)
        taken = []
        for _, number in due[:most]:
            account = self.account(number)
            level, name = "total", b""
            if number < TOTAL:
                level, name = "identity", account.key.to_bytes(8, "big")
            elif number > TOTAL:
                level, name = "model", self.models[<Py_ssize_t>(number - TOTAL - 1)]
            mw_account_take(account, elapsed, exp((account.demand_at_ns - now) / MW_DEMAND_NS), now, &spent, &changed)
            taken.append((number, level, name, spent, changed, account.most_ns))
        return taken

    def follow(self, uint32_t number, int64_t ahead, double demand, int64_t at, int64_t now):
        """The debt of all servers to a limit at `at` (how far its TAT lay ahead) and its demand."""
        cdef mw_account *account = self.account(number)
        cdef int64_t *tat = NULL
        mw_account_share(account, demand)
        if number == TOTAL:
            tat = self.limiter.total_meter.tat_ns
        elif number > TOTAL:
            tat = &self.cell(number).tat_ns
        elif account.hash == 0:
            return                    # given away meanwhile
        self.limiter.follow(account, tat, ahead, at, now)

    def forget(self):
        """What was booked is dropped, and this server holds its limits alone until `follow` says more."""
        cdef uint32_t number
        self.look_for_models()
        for number in range(TOTAL + 1 + <uint32_t>len(self.models)):
            if number >= TOTAL or self.limiter.shared.identity[number].hash:
                mw_account_forget(self.account(number))

    @property
    def unbooked(self):
        """Requests of identities that found no account: more are active than there are accounts."""
        return self.limiter.shared.unbooked
