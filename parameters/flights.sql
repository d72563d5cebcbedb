-- One row a flight that arrived: will it be 15 minutes late or more, told two hours before departure?
--
-- Known two hours before: the schedule, the aeroplane, the airport it flies to, the weather of two hours earlier.
-- Known only afterwards, hence never here: dep_time, dep_delay, arr_time, air_time, and the same hour's weather.
--
-- flights.time_hour and weather.time_hour are both UTC, so the join holds across summer time; month, hour and
-- minute are New York's. A weather report carries the hour it was made in, mostly at minute 51: the one of two
-- hours earlier may be 51 minutes younger than two hours. INTERVAL 3 HOUR removes that doubt (ROC-AUC - 0.005).
SELECT
    make_timestamp(f.year, f.month, f.day, f.hour, f.minute, 0) AS departure,  -- scheduled, New York time
    f.month,
    isodow(make_date(f.year, f.month, f.day)) AS weekday,                      -- 1 Monday to 7 Sunday
    60 * f.hour + f.minute AS departure_minute,                                -- of the day, scheduled
    60 * (f.sched_arr_time // 100) + f.sched_arr_time % 100 AS arrival_minute, -- of the day, scheduled, there
    f.carrier,
    f.origin,
    f.dest,
    f.distance,                                                                -- miles
    w.temp,                                                                    -- degrees Fahrenheit
    w.humid,                                                                   -- per cent; with temp it gives the dew point
    w.wind_dir,                                                                -- degrees
    w.wind_speed,                                                              -- miles an hour
    w.wind_gust,
    w.precip,                                                                  -- inches
    w.pressure,                                                                -- millibar
    w.visib,                                                                   -- miles
    f.year - p.year AS plane_age,                                              -- years
    p.manufacturer,
    p.engine,
    p.seats,
    a.lat AS dest_lat,
    a.lon AS dest_lon,
    a.alt AS dest_alt,                                                         -- feet
    a.tz AS dest_tz,                                                           -- hours from UTC
    CASE WHEN f.arr_delay >= 15 THEN 'late' ELSE 'on time' END AS late
FROM flights AS f
LEFT JOIN weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour - INTERVAL 2 HOUR
LEFT JOIN planes AS p ON p.tailnum = f.tailnum
LEFT JOIN airports AS a ON a.faa = f.dest
WHERE f.arr_delay IS NOT NULL  -- 9,430 flights were cancelled or diverted
