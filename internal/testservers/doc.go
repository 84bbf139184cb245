// Package testservers gives tests the servers they need, so that nobody has to
// start one. PostgreSQL comes from the first of these that serves:
//
//  1. SWITCHYARD_TEST_POSTGRES_URL, the URL of a superuser on a server of yours;
//  2. the PostgreSQL programs on the machine: a private server in a temporary
//     folder, on a free port of 127.0.0.1, as an unprivileged user under root;
//  3. a download of the programs, once, into the user's cache folder.
//
// SWITCHYARD_TEST_POSTGRES_DOWNLOAD=1 leaves out 1 and 2, to test against the
// version that step 3 pins. When nothing serves, tests fail and say what to do:
// they are never skipped.
//
// A test package shares one server and gives each test a database of its own:
//
//	var server testservers.SharedPostgres
//
//	func TestMain(m *testing.M) { os.Exit(server.Main(m)) }
//
//	func TestAppend(t *testing.T) {
//		url := server.Database(t)
//		…
//	}
//
// A test that kills, pauses or fills a server starts one of its own:
//
//	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{
//		Settings: map[string]string{"synchronous_commit": "off"},
//	})
//
// PrivateDynoxide starts a server that speaks DynamoDB's protocol. Its program is
// SWITCHYARD_TEST_DYNOXIDE, or one that cargo builds, once, into the user's cache
// folder (3 minutes on two cores). Without either the test is skipped, which is
// counted, and fails in CI.
//
// Kafka is Apache Kafka, never a double. It comes from the first of these that
// serves; all but the first need a Java of version 17 or later:
//
//  1. SWITCHYARD_TEST_KAFKA_BROKERS, host:port,… of plaintext brokers of yours;
//  2. SWITCHYARD_TEST_KAFKA_LIB, a folder of the jars of a Kafka, or the libs
//     folder of the one in KAFKA_HOME: private brokers from it;
//  3. Maven's mvn, which fetches the jars, once, into the user's cache folder,
//     from where the user's own Maven settings say.
//
// Where none can be had a test is skipped and says what would help; with CI=true
// it fails. [SharedKafka] is one broker for a package, and [PrivateKafka] one or
// three for a test that kills (SIGKILL), pauses (SIGSTOP) or restarts them, cuts
// them off from each other, or shows itself to listeners that ask who it is. A
// broker takes about 350 MB and two seconds to start.
//
// Servers end with the tests that started them, and their folders with them, also
// when the test process is killed. Private servers need a Unix.
package testservers
