"""What the gateway decides, apart from how it speaks: which replica, again or not, now or later, which version.

Pure modules: no HTTP, no event loop; time and chance are handed in. The path and the dispatch apply what is decided
here.
"""
