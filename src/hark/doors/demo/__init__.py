"""The demo: the whole pipeline on this machine, before your eyes; leaves the mails and nothing running.

(The lead is writing this package; the verb only calls `hark.doors.demo.show.run_demo`.)
"""
