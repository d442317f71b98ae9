import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BiConsumer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/**
 * The small job of the peers (tests/bench/peers/job.py) in Kafka Streams.
 *
 * <p>Persistent stores (RocksDB) with caches and changelog topics, a commit a second. Users and sessions are kept by
 * processors that share their stores, as both topics are keyed by user; answers are regrouped by what is counted apart.
 *
 * <p>java -cp ... LittleJob.java BROKER GROUP PREFIX DIRECTORY EVENTS exactly_once_v2|at_least_once
 */
public final class LittleJob {
  private static final String LAST_SEEN = "last_seen";
  private static final String SESSIONS = "sessions_by_id";
  private static final String ANSWERS = "answers";
  private static final Set<String> VIEWS = Set.of("page_view", "screen_view");
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final long REPORT_MS = 200;
  private static final long COMMIT_MS = 1_000;
  private static final long WATCHED_EVERY_MS = 50;
  private static final long CACHE_BYTES = 64L * 1024 * 1024;

  /** How many events of each topic have been taken into the state. */
  private static final AtomicLong STEPS_COUNTED = new AtomicLong();

  private static final AtomicLong LOGINS_COUNTED = new AtomicLong();
  private static final AtomicLong ANSWERS_COUNTED = new AtomicLong();

  @JsonIgnoreProperties(ignoreUnknown = true)
  record Step(
      @JsonProperty("type") String type,
      @JsonProperty("event_time") String eventTime,
      @JsonProperty("session_id") String sessionId,
      @JsonProperty("interactive") Boolean interactive) {}

  @JsonIgnoreProperties(ignoreUnknown = true)
  record Login(@JsonProperty("event_time") String eventTime, @JsonProperty("success") Boolean success) {}

  @JsonIgnoreProperties(ignoreUnknown = true)
  record Answer(
      @JsonProperty("kind") String kind,
      @JsonProperty("status") String status,
      @JsonProperty("score") Integer score) {
    String key() {
      return kind + "/" + (status == null ? "completed" : status) + "/" + (score == null ? "-" : score);
    }
  }

  /** What is known of a session. */
  record Session(long views, long beginMs, long endMs) {
    Session withStep(long atMs, long moreViews) {
      return new Session(views + moreViews, Math.min(beginMs, atMs), Math.max(endMs, atMs));
    }
  }

  /** A user's steps: when the user was last seen, and sessions by id. */
  static final class Steps extends ContextualProcessor<String, Step, Void, Void> {
    @Override
    public void process(Record<String, Step> record) {
      Step step = record.value();
      long atMs = milliseconds(step.eventTime());
      if (!Boolean.FALSE.equals(step.interactive())) {
        see(context().getStateStore(LAST_SEEN), record.key(), atMs);
      }
      if (step.sessionId() != null) {
        KeyValueStore<String, Session> sessions = context().getStateStore(SESSIONS);
        Session known = sessions.get(step.sessionId());
        long views = VIEWS.contains(step.type()) ? 1 : 0;
        sessions.put(
            step.sessionId(), known == null ? new Session(views, atMs, atMs) : known.withStep(atMs, views));
      }
      STEPS_COUNTED.incrementAndGet();
    }
  }

  /** A user's logins: when the user was last seen. */
  static final class Logins extends ContextualProcessor<String, Login, Void, Void> {
    @Override
    public void process(Record<String, Login> record) {
      Login login = record.value();
      if (!Boolean.FALSE.equals(login.success())) {
        see(context().getStateStore(LAST_SEEN), record.key(), milliseconds(login.eventTime()));
      }
      LOGINS_COUNTED.incrementAndGet();
    }
  }

  private static void see(KeyValueStore<String, Long> lastSeen, String user, long atMs) {
    Long before = lastSeen.get(user);
    if (before == null || atMs > before) {
      lastSeen.put(user, atMs);
    }
  }

  /** ISO 8601 with an offset, or a number of ms: Jackson gives the number's text. */
  private static long milliseconds(String eventTime) {
    char last = eventTime.charAt(eventTime.length() - 1);
    if (last == 'Z') {
      return Instant.parse(eventTime).toEpochMilli();
    }
    return eventTime.indexOf(':') < 0
        ? Long.parseLong(eventTime)
        : OffsetDateTime.parse(eventTime).toInstant().toEpochMilli();
  }

  private static <T> Serde<T> json(Class<T> type) {
    ObjectReader reader = JSON.readerFor(type);
    Deserializer<T> deserializer =
        (topic, bytes) -> {
          try {
            return bytes == null ? null : reader.readValue(bytes);
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        };
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return JSON.writeValueAsBytes(value);
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        },
        deserializer);
  }

  private static Serde<Session> sessionSerde() {
    return Serdes.serdeFrom(
        (topic, session) ->
            session == null
                ? null
                : ByteBuffer.allocate(3 * Long.BYTES)
                    .putLong(session.views())
                    .putLong(session.beginMs())
                    .putLong(session.endMs())
                    .array(),
        (topic, bytes) -> {
          if (bytes == null) {
            return null;
          }
          ByteBuffer buffer = ByteBuffer.wrap(bytes);
          return new Session(buffer.getLong(), buffer.getLong(), buffer.getLong());
        });
  }

  private static Topology topology(String prefix) {
    Serde<String> text = Serdes.String();
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(LAST_SEEN), text, Serdes.Long())
            .withCachingEnabled());
    builder.addStateStore(
        Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(SESSIONS), text, sessionSerde())
            .withCachingEnabled());
    builder
        .stream(prefix + "sessions", Consumed.with(text, json(Step.class)))
        .process(Steps::new, LAST_SEEN, SESSIONS);
    builder
        .stream(prefix + "logins", Consumed.with(text, json(Login.class)))
        .process(Logins::new, LAST_SEEN);
    builder
        .stream(prefix + "surveys", Consumed.with(text, json(Answer.class)))
        .groupBy((user, answer) -> answer.key(), Grouped.with(text, json(Answer.class)))
        .aggregate(
            () -> 0L,
            (key, answer, count) -> {
              ANSWERS_COUNTED.incrementAndGet();
              return count + 1;
            },
            Materialized.<String, Long>as(Stores.persistentKeyValueStore(ANSWERS))
                .withKeySerde(text)
                .withValueSerde(Serdes.Long()));
    return builder.build();
  }

  private static long counted() {
    return STEPS_COUNTED.get() + LOGINS_COUNTED.get() + ANSWERS_COUNTED.get();
  }

  private static void sayCounted(long count) {
    Instant now = Instant.now();
    System.out.printf("counted %d.%03d %d%n", now.getEpochSecond(), now.getNano() / 1_000_000, count);
    System.out.flush();
  }

  private static void watch(long events) throws InterruptedException {
    long toldAt = 0;
    long count;
    while ((count = counted()) < events) {
      long now = System.currentTimeMillis();
      if (now >= toldAt + REPORT_MS) {
        sayCounted(count);
        toldAt = now;
      }
      Thread.sleep(WATCHED_EVERY_MS);
    }
    sayCounted(count);
  }

  private static void sayNumbers(KafkaStreams streams) throws IOException {
    long[] users = new long[2];
    each(streams, LAST_SEEN, (String key, Long atMs) -> {
      users[0]++;
      users[1] += atMs;
    });
    long[] sessions = new long[4];
    each(streams, SESSIONS, (String key, Session session) -> {
      sessions[0]++;
      sessions[1] += session.views();
      sessions[2] += session.beginMs();
      sessions[3] += session.endMs();
    });
    TreeMap<String, Long> answers = new TreeMap<>();
    var counts =
        streams.store(
            StoreQueryParameters.fromNameAndType(
                ANSWERS, QueryableStoreTypes.<String, Long>keyValueStore()));
    try (var rows = counts.all()) {
      rows.forEachRemaining(row -> answers.put(row.key, row.value));
    }
    ObjectNode numbers = JSON.createObjectNode();
    numbers
        .putObject("events")
        .put("sessions", STEPS_COUNTED.get())
        .put("logins", LOGINS_COUNTED.get())
        .put("surveys", ANSWERS_COUNTED.get());
    numbers.put("users", users[0]).put("last_seen_ms", users[1]).put("sessions", sessions[0]);
    numbers.put("views", sessions[1]).put("begin_ms", sessions[2]).put("end_ms", sessions[3]);
    numbers.set("answers", JSON.valueToTree(answers));
    System.out.println(JSON.writeValueAsString(numbers));
    System.out.flush();
  }

  private static <V> void each(
      KafkaStreams streams, String store, BiConsumer<String, V> taken) {
    var rows =
        streams.store(
            StoreQueryParameters.fromNameAndType(store, QueryableStoreTypes.<String, V>keyValueStore()));
    try (var all = rows.all()) {
      all.forEachRemaining(row -> taken.accept(row.key, row.value));
    }
  }

  public static void main(String[] arguments) throws Exception {
    List<String> asked = List.of(arguments);
    Properties config = new Properties();
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, asked.get(0));
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, asked.get(1));
    config.put(StreamsConfig.STATE_DIR_CONFIG, asked.get(3));
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, asked.get(5));
    config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, COMMIT_MS);
    config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES);
    config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");

    KafkaStreams streams = new KafkaStreams(topology(asked.get(2)), config);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
    streams.start();
    watch(Long.parseLong(asked.get(4)));
    sayNumbers(streams);
    streams.close();
  }

  private LittleJob() {}
}
