-- What the analytics tell, asked of ClickHouse. {since:Int64} and {until:Int64} are milliseconds since 1970.

-- usage: calls, errors, tokens and cost, by route and day
SELECT toDate(at) AS day, route, count() AS calls, countIf(outcome NOT IN ('ok', 'client_left')) AS errors,
       sum(input + cached_read + cached_write + cached_write_1h + audio_input) AS input_tokens,
       sum(output + reasoning + audio_output) AS output_tokens, sum(c.cost_nusd) AS cost_nusd,
       countIf(c.cost_nusd IS NULL) AS unpriced, sum(c.saved_nusd) AS saved_nusd
FROM tidegate.calls AS c WHERE at_ms >= {since:Int64} AND at_ms < {until:Int64}
GROUP BY day, route ORDER BY day, route;

-- times: how long answers took, and until their first word, in milliseconds
SELECT route, quantilesExact(0.5, 0.95, 0.99)(duration_us / 1000) AS duration_ms,
       quantilesExactIf(0.5, 0.95, 0.99)(ifNull(first_us, 0) / 1000, first_us IS NOT NULL) AS first_ms
FROM tidegate.calls AS c WHERE at_ms >= {since:Int64} AND at_ms < {until:Int64}
GROUP BY route ORDER BY route;

-- people: end users who asked, by day, and what each cost
SELECT toDate(at) AS day, uniqExactIf(user, user != '') AS users, uniqExactIf(session, session != '') AS sessions,
       sumIf(c.cost_nusd, user != '') / greatest(uniqExactIf(user, user != ''), 1) AS cost_per_user_nusd
FROM tidegate.calls AS c WHERE at_ms >= {since:Int64} AND at_ms < {until:Int64}
GROUP BY day ORDER BY day;

-- cache: what it did, by layer
SELECT cache, cache_layer, count() AS calls, sum(c.saved_nusd) AS saved_nusd
FROM tidegate.calls AS c WHERE at_ms >= {since:Int64} AND at_ms < {until:Int64} AND cache != ''
GROUP BY cache, cache_layer ORDER BY cache, cache_layer;

-- attempts: how each target did, and what its failures cost
SELECT asked AS target, ended AS outcome, count() AS attempts, sum(cost) AS cost_nusd
FROM tidegate.calls AS c ARRAY JOIN attempt.target AS asked, attempt.outcome AS ended, attempt.cost_nusd AS cost
WHERE at_ms >= {since:Int64} AND at_ms < {until:Int64}
GROUP BY asked, ended ORDER BY asked, ended;

-- keys: who spent how much
SELECT team_id, key_id, count() AS calls, sum(c.cost_nusd) AS cost_nusd
FROM tidegate.calls AS c WHERE at_ms >= {since:Int64} AND at_ms < {until:Int64}
GROUP BY team_id, key_id ORDER BY team_id, key_id;
