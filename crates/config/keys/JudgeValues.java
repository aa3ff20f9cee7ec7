import java.util.List;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Writes which of some values Apache Kafka takes for each of its keys: a line with the values, then a line per key
 * with scope, name and a + or - for each value. See keys/README.md for how to run it.
 */
public final class JudgeValues {
    private static final List<String> VALUES = List.of(
        "", " ", "x", "true", "TRUE", "tRue", "yes", "-131072", "-3", "-2", "-1", "0", "1", "2", "5", "17",
        "18", "1.5", "0.5", "1.", "100", "1000", "20000", "1048576", "8388608", "2147483647", "2147483648",
        "-2147483649", "32768", "9223372036854775807", "9223372036854775808", "a,b", "a,a", ",", "a,,b",
        " a , b ", "compact,delete", "delete", "delete,purge", "0x10", "+5", "1e3", "1_000", "NaN",
        "Infinity", "5L", "5f", "0x1p3", "*", "0:1", "0:1,0:1", "0:1,x", "0:x", "gzip", "GZIP",
        "LogAppendTime", "PLAINTEXT", "plaintext", "required", "Required", "es256", "upgrade",
        "broker,controller", "classic", "king", "producer", "９", "1 000", " 5 ");

    public static void main(String[] args) {
        System.out.println(String.join("\t", VALUES));
        judge("broker", AbstractKafkaConfig.CONFIG_DEF);
        judge("topic", LogConfig.configDefCopy());
    }

    private static void judge(String scope, ConfigDef keys) {
        for (ConfigDef.ConfigKey key : new TreeMap<>(keys.configKeys()).values()) {
            StringBuilder verdicts = new StringBuilder();
            for (String value : VALUES) verdicts.append(takes(key, value) ? '+' : '-');
            System.out.println(String.join("\t", scope, key.name, verdicts));
        }
    }

    private static boolean takes(ConfigDef.ConfigKey key, String value) {
        try {
            Object parsed = ConfigDef.parseType(key.name, value, key.type);
            if (key.validator != null) key.validator.ensureValid(key.name, parsed);
            return true;
        } catch (RuntimeException refused) {
            return false;
        }
    }
}
