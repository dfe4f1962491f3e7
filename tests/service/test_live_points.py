from tulou.service.gateway.live import Live


def test_the_window_is_cut_into_intervals_that_end_now() -> None:
    now = 1000.0
    live = Live(window_s=30, now=lambda: now)
    for at, status, latency in ((971.0, 200, 5.0), (989.0, 500, 7.0), (995.0, 200, 1.0), (995.0, 200, 3.0)):
        now = at
        live.record("m", status, latency)
    now = 1000.0
    points = live.points(10)
    assert [(point.at, point.requests, point.failures) for point in points] == [(980, 1, 0), (990, 1, 1), (1000, 2, 0)]
    assert (points[2].p50_ms, points[2].p99_ms) == (3.0, 3.0)
    assert live.points(30)[0].requests == 4
