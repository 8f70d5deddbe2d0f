"""Every verb of a record of the audit trail, and what it means."""

from collections.abc import Mapping

PEOPLE: Mapping[str, str] = {
    "promote": "a version was given its first or next share of the requests",
    "force": "the same, although not every bound was decided",
    "rollback": "a promotion was taken back by a person",
    "reload": "configuration and repository were read again",
    "restart": "the workers were replaced",
    "drain": "the server was told to finish what is in flight, and to end",
    "limit.set": "a model or an identity was limited for a time",
    "limit.unset": "such a limit was ended before its time",
    "breaker.open": "requests of a model were kept from one or all of its upstreams for a time",
    "breaker.close": "they were sent there for a time, whatever the circuit breakers say",
    "breaker.auto": "such an override was ended before its time",
    "pardon": "versions were allowed to run again with inputs that workers died of",
    "proposal.open": "what needs approvals was proposed",
    "proposal.approve": "a proposal was approved",
    "proposal.reject": "a proposal was rejected",
    "proposal.withdraw": "the operator who had proposed it withdrew it",
    "proposal.break_glass": "it was done at once, without the approvals that it needs",
    "proposal.claim": "an operator said that changed files, which the server had found, are theirs",
    "proposal.review": "what was done by breaking the glass was reviewed",
}
"""Of records of kind `human`. A call that was denied has the verb that it asked for, and the result `refused`."""

SERVER: Mapping[str, str] = {
    "server.start": "the server began; `after` has its version and the digest of its configuration",
    "server.stop": "it ended in order",
    "files.followed": "configuration or repository changed on disk, and was followed or refused; `before` and `after` "
    "have the digest of the configuration, `after.rights` each setting that decides rights and was changed",
    "version.loaded": "a version can answer; `digest` is of its files",
    "version.unsealed": "a worker opened a sealed version: `after` has the recipient of its key, and the process",
    "version.replaced": "its files are others than before",
    "version.removed": "it is not there any more",
    "version.files_changed": "its files on disk are others than those that are served, which go on; `reason` says why",
    "version.files_restored": "they are the same again",
    "version.refused": "it is not served as it lies in the repository; `problems` say why: signature, scan, canary",
    "version.answering": "it has the requests of its model until one is promoted",
    "version.taken_as_approved": "it may answer, since it answered when approvals began, or `versions:` names it",
    "version.contained": "it is not run with some inputs any more, because workers died of them",
    "version.out_of_service": "it is not run at all any more, because workers died of it",
    "version.opened": "it is run again",
    "upstream.canary_failed": "an upstream answers otherwise than a canary expects, and gets no requests of its model",
    "upstream.canary_passed": "an upstream passes the canary again",
    "canary.failed": "its answers to its canary are wrong, and it gets no requests",
    "canary.passed": "they are right again",
    "promotion.step": "a promotion went on, or began again, by itself",
    "promotion.finished": "a promotion ended, because every bound is kept",
    "promotion.rolled_back": "a version was taken back: `figures` have the bound and what was found",
    "shadow.verdict": "the verdict on a shadow turned",
    "breaker.opened": "an endpoint of an upstream gets no requests, since it fails",
    "breaker.closed": "it gets requests again",
    "breaker.override_ended": "the time of a breaker override that a person has set is over",
    "limit.ended": "the time of a limit that a person has set is over",
    "limits.store_lost": "the store of shared limits does not answer; each server holds them alone",
    "limits.store_back": "it answers again",
    "worker.died": "workers ended by themselves: how many, and of what",
    "worker.hung": "workers did not answer, and were killed",
    "file.changed": "a file that the configuration names holds something else: `object` is the key",
    "certificate.renewed": "a certificate was read again",
    "certificate.rejected": "a new certificate cannot be used; the one before is",
    "keys.rejected": "a file of API keys cannot be used; the one before is",
    "keys.set_rejected": "a token issuer gave no keys",
    "keys.set_changed": "a token issuer gave other keys than before: `object` is the issuer of operators, or empty",
    "state.lost": "what was promoted is not known any more",
    "proposal.expire": "a proposal was not approved in time",
    "proposal.fail": "a proposal was approved, and could not be executed",
    "proposal.void": "what a proposal is about has changed",
    "records.removed": "retention removed records; their hashes stay",
    "witness.refused": "a witness remembers another history of the log: it was rewritten, or cut off",
}
"""Of records of kind `automatic`."""

MINUTE: Mapping[str, str] = {
    "access.denied": "calls of the data plane without the right or a credential, by model and reason, and by caller",
    "limits.refused": "requests over a limit, by model and by caller",
    "connections.closed": "connections that were refused or closed, floods among them, by reason and by peer",
    "anomalies": "anomalous requests, by model and by caller",
    "denied": "calls of the admin API that were denied, beyond those that are told one by one",
    "audit.lost": "records that found no room in line while the trail could not be written, by verb",
}
"""Of records of kind `summary`: counts of a minute. Names of callers are bounded; the rest is `others`."""
