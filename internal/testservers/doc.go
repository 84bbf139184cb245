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
// Servers end with the tests that started them, and their folders with them, also
// when the test process is killed. Private servers need a Unix.
package testservers
