-- Flights out of New York, January to March 2013: five tables of real data, and views that are
-- kept right while flights arrive, change and disappear.
--
--     cargo run --release -- run examples/flights/flights.sql
--
-- README.md next to this file shows how to post a late flight and watch the views change.


-- Tables. Each has a connector that reads a file; `NA` stands for a missing value in all of them.
-- A primary key makes a table an upsert table: inserting a row replaces the one of the same key,
-- and to delete a row its key is enough. (A table without one is a bag: equal rows count, and a
-- deletion names the whole row.)

CREATE TABLE airlines (
    carrier VARCHAR NOT NULL PRIMARY KEY,
    name    VARCHAR NOT NULL
) WITH (
    'materialized' = 'true',
    'connectors' = '[{
        "name": "file",
        "transport": {"name": "file_input", "config": {"path": "data/airlines.csv"}},
        "format": {"name": "csv", "config": {"headers": true, "null_value": "NA"}}
    }]'
);

CREATE TABLE airports (
    faa   VARCHAR NOT NULL PRIMARY KEY,
    name  VARCHAR NOT NULL,
    lat   DOUBLE,
    lon   DOUBLE,
    alt   INTEGER,          -- feet
    tz    INTEGER,          -- hours from UTC
    dst   VARCHAR,
    tzone VARCHAR
) WITH (
    'connectors' = '[{
        "name": "file",
        "transport": {"name": "file_input", "config": {"path": "data/airports.csv"}},
        "format": {"name": "csv", "config": {"headers": true, "null_value": "NA"}}
    }]'
);

CREATE TABLE planes (
    tailnum      VARCHAR NOT NULL PRIMARY KEY,
    year         INTEGER,   -- of manufacture
    type         VARCHAR,
    manufacturer VARCHAR,
    model        VARCHAR,
    engines      INTEGER,
    seats        INTEGER,
    speed        INTEGER,
    engine       VARCHAR
) WITH (
    'connectors' = '[{
        "name": "file",
        "transport": {"name": "file_input", "config": {"path": "data/planes.csv"}},
        "format": {"name": "csv", "config": {"headers": true, "null_value": "NA"}}
    }]'
);

-- `hour` is local time, which repeats an hour when summer time ends; `time_hour` is UTC.
CREATE TABLE weather (
    origin     VARCHAR NOT NULL,
    year       INTEGER NOT NULL,
    month      INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    hour       INTEGER NOT NULL,
    temp       DOUBLE,      -- degrees Fahrenheit
    dewp       DOUBLE,
    humid      DOUBLE,
    wind_dir   INTEGER,
    wind_speed DOUBLE,      -- miles per hour
    wind_gust  DOUBLE,
    precip     DOUBLE,      -- inches
    pressure   DOUBLE,
    visib      DOUBLE,      -- miles
    time_hour  TIMESTAMP NOT NULL,
    PRIMARY KEY (origin, time_hour)
) WITH (
    'connectors' = '[{
        "name": "file",
        "transport": {"name": "file_input", "config": {"path": "data/weather.csv.gz"}},
        "format": {"name": "csv", "config": {"headers": true, "null_value": "NA"}}
    }]'
);

-- The source names no key, but these columns tell all its flights apart.
-- `dep_time` and `arr_time` are clock times: 517 is 5:17. A cancelled flight has none.
CREATE TABLE flights (
    year           INTEGER NOT NULL,
    month          INTEGER NOT NULL,
    day            INTEGER NOT NULL,
    dep_time       INTEGER,
    sched_dep_time INTEGER NOT NULL,
    dep_delay      INTEGER, -- minutes; negative: early
    arr_time       INTEGER,
    sched_arr_time INTEGER,
    arr_delay      INTEGER,
    carrier        VARCHAR NOT NULL,
    flight         INTEGER NOT NULL,
    tailnum        VARCHAR,
    origin         VARCHAR NOT NULL,
    dest           VARCHAR NOT NULL,
    air_time       INTEGER,
    distance       INTEGER, -- miles
    hour           INTEGER,
    minute         INTEGER,
    time_hour      TIMESTAMP,
    PRIMARY KEY (year, month, day, carrier, flight, origin, sched_dep_time)
) WITH (
    'materialized' = 'true',
    'connectors' = '[{
        "name": "file",
        "transport": {"name": "file_input", "config": {"path": "data/flights.csv.gz"}},
        "format": {"name": "csv", "config": {"headers": true, "null_value": "NA"}}
    }]'
);


-- Functions are SQL expressions with a name.
CREATE FUNCTION is_late(delay INTEGER) RETURNS BOOLEAN AS delay > 15;

-- A local view is a step on the way: other views build on it, nobody outside sees it.
CREATE LOCAL VIEW departed AS
SELECT * FROM flights WHERE dep_time IS NOT NULL AND arr_delay IS NOT NULL;


-- Views. A materialized view can be queried at any time; every view can be followed.

-- How does each airline do? LEFT JOIN keeps a flight whose airline is not known.
CREATE MATERIALIZED VIEW airline_delays AS
SELECT f.carrier,
       COALESCE(a.name, '(unknown)')                           AS airline,
       COUNT(*)                                                AS flights,
       COUNT(*) FILTER (WHERE f.dep_time IS NULL)              AS cancelled,
       ROUND(AVG(f.dep_delay), 1)                              AS average_departure_delay,
       MAX(f.dep_delay)                                        AS longest_departure_delay,
       COUNT(*) FILTER (WHERE is_late(f.arr_delay))            AS late_arrivals
FROM flights f LEFT JOIN airlines a ON f.carrier = a.carrier
GROUP BY f.carrier, a.name;

-- The ten routes with the latest arrivals, of those flown at least fifty times. A flight more or
-- less can move a route in or out of the ten.
CREATE MATERIALIZED VIEW worst_routes AS
SELECT d.origin, d.dest, p.name AS destination,
       COUNT(*)                   AS flights,
       ROUND(AVG(d.arr_delay), 1) AS average_arrival_delay
FROM departed d JOIN airports p ON d.dest = p.faa
GROUP BY d.origin, d.dest, p.name
HAVING COUNT(*) >= 50
ORDER BY average_arrival_delay DESC, flights DESC, d.origin, d.dest
LIMIT 10;

-- Do wind and fog delay departures? Flights meet the weather of their airport and hour.
CREATE MATERIALIZED VIEW weather_delays AS
SELECT CASE WHEN w.visib < 1 THEN '1 fog' WHEN w.visib < 5 THEN '2 haze' ELSE '3 clear' END AS visibility,
       CASE WHEN w.wind_speed IS NULL THEN 'unknown'
            WHEN w.wind_speed < 10 THEN '1 calm'
            WHEN w.wind_speed < 20 THEN '2 breeze'
            ELSE '3 strong' END                           AS wind,
       COUNT(*)                                            AS flights,
       COUNT(*) - COUNT(d.dep_time)                        AS cancelled,
       ROUND(AVG(d.dep_delay), 1)                          AS average_departure_delay
FROM flights d JOIN weather w ON d.origin = w.origin AND d.time_hour = w.time_hour
GROUP BY 1, 2;

-- Who built the planes, how old were they, how many seats did they fly? Planes of makers with
-- fewer than 500 flights are left out.
CREATE MATERIALIZED VIEW manufacturers AS
SELECT p.manufacturer,
       COUNT(*)                         AS flights,
       COUNT(DISTINCT p.tailnum)        AS planes,
       ROUND(AVG(d.year - p.year), 1)   AS average_age,
       SUM(p.seats)                     AS seats_flown
FROM departed d JOIN planes p ON d.tailnum = p.tailnum
GROUP BY p.manufacturer
HAVING COUNT(*) >= 500;

-- The day at each airport, hour by hour: a window function adds the departures so far.
CREATE LOCAL VIEW hourly AS
SELECT origin, hour, COUNT(*) AS departures, ROUND(AVG(dep_delay), 1) AS average_delay
FROM departed
GROUP BY origin, hour;

CREATE MATERIALIZED VIEW departures_by_hour AS
SELECT origin, hour, departures, average_delay,
       SUM(departures) OVER (PARTITION BY origin ORDER BY hour) AS departures_so_far,
       RANK() OVER (PARTITION BY origin ORDER BY departures DESC) AS busiest
FROM hourly;

-- How many planes does each airline use, and how many of them are in the register?
CREATE MATERIALIZED VIEW fleets AS
SELECT f.carrier,
       COUNT(DISTINCT f.tailnum) AS planes,
       COUNT(DISTINCT p.tailnum) AS registered
FROM flights f LEFT JOIN planes p ON f.tailnum = p.tailnum
GROUP BY f.carrier;

-- The three longest delays of each airport.
CREATE MATERIALIZED VIEW longest_delays AS
SELECT origin, place, month, day, carrier, flight, dest, dep_delay
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY origin ORDER BY dep_delay DESC, month, day, carrier, flight) AS place
    FROM departed
)
WHERE place <= 3;

-- Airports in the list that no flight of ours goes to, by time zone.
CREATE MATERIALIZED VIEW not_served AS
SELECT p.tzone, COUNT(*) AS airports
FROM airports p
WHERE NOT EXISTS (SELECT 1 FROM flights f WHERE f.dest = p.faa)
GROUP BY p.tzone;
